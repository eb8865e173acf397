"""Language modelling on Python's own help texts, byte by byte, with a small GPT.

It predicts the next byte from up to 64 before it. An epoch is 50 batches, 100 kB of text, a
different part each time.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esper_leyline import DataSpec, HostTraining, TrainingConfig, TransformerHostSpec
from esper_tolaria.tasks._common import Task, describe_task, small_preset

if TYPE_CHECKING:
    from esper_tolaria.datasets.splits import Dataset


def load(spec: DataSpec, root: Path) -> Dataset:
    """Reads the help texts of the Python that runs this."""
    from esper_tolaria.datasets.topics import load_topics

    return load_topics(spec, root)


def preset() -> TrainingConfig:
    """Few, short episodes."""
    return small_preset("topics")


TASK = Task(
    spec=describe_task(
        "topics",
        description="Python's help texts, byte by byte, on a GPT of three 24-wide layers",
        host=TransformerHostSpec(
            vocabulary=256, width=24, heads=2, layers=3, block=64, layers_per_slot=1
        ),
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
        # One seed among several layers adds little, but over so many tokens it is significant.
        min_fossilize_improvement=0.1,
    ),
    preset=preset,
    load=load,
)
