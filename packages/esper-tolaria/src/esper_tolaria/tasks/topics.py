"""Language modelling, byte by byte, on Python's own help texts."""

from __future__ import annotations

from esper_leyline import DataSpec, HostTraining, TaskSpec
from esper_tolaria.tasks.whole import whole_task


def topics_task() -> TaskSpec:
    """The next byte of a help text, from up to 64 before it, by a small GPT.

    An epoch is 50 batches, 100 kB of text, others each time.
    """
    return whole_task(
        "topics",
        description="Python's help texts, byte by byte, on a GPT of three 24-wide layers",
        data=DataSpec(
            name="topics",
            source="pydoc_data.topics of the Python that runs this; no download",
            input_shape=(64,),
            classes=256,
            train_size=4096,
            validation_size=512,
            test_size=512,
        ),
        training=HostTraining(
            optimizer="adamw",
            learning_rate=0.0045,
            seed_learning_rate=0.0045,
            weight_decay=0.01,
            batch_size=32,
            max_batches=50,
        ),
        # A seed among many layers adds little, and of so many tokens a little is no chance.
        min_fossilize_improvement=0.1,
    )
