"""Language modelling on TinyStories."""

from __future__ import annotations

from esper_leyline import DataSpec, HostTraining, TaskSpec
from esper_tolaria.tasks.whole import whole_task


def tinystories_task() -> TaskSpec:
    """The next token of a short story (Eldan and Li 2023) by a GPT of 30 million parameters.

    An epoch is 500 batches, 4 million tokens, drawn from the 26 million taken.
    """
    return whole_task(
        "tinystories",
        description="TinyStories in GPT-2's tokens on a GPT of six 384-wide layers",
        data=DataSpec(
            name="tinystories",
            source="roneneldan/TinyStories of the Hugging Face Hub, or its texts",
            input_shape=(256,),
            classes=50_257,
            train_size=100_000,
            validation_size=1000,
            test_size=1000,
        ),
        training=HostTraining(
            optimizer="adamw",
            learning_rate=6e-4,
            seed_learning_rate=6e-4,
            weight_decay=0.1,
            batch_size=32,
            max_batches=500,
            max_grad_norm=1.0,
        ),
        # A seed among many layers adds little, and of so many tokens a little is no chance.
        min_fossilize_improvement=0.1,
    )
