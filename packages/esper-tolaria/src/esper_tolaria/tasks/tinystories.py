"""Language modelling on TinyStories (Eldan and Li 2023) with a GPT of 30 million parameters.

An epoch is 500 batches, 4 million tokens, drawn from 26 million.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esper_leyline import DataSpec, HostTraining, TrainingConfig, TransformerHostSpec
from esper_tolaria.tasks._common import Task, describe_task

if TYPE_CHECKING:
    from esper_tolaria.datasets.splits import Dataset


def load(spec: DataSpec, root: Path) -> Dataset:
    """Reads and tokenizes the stories."""
    from esper_tolaria.datasets.tinystories import load_tinystories

    return load_tinystories(spec, root)


def is_here(root: Path) -> bool:
    """Whether the stories and the tokenizer exist."""
    from esper_tolaria.datasets.tinystories import tinystories_is_here

    return tinystories_is_here(root)


def fetch(root: Path) -> None:
    """Downloads the stories and the tokenizer."""
    from esper_tolaria.datasets.tinystories import fetch_tinystories

    fetch_tinystories(root)


def preset() -> TrainingConfig:
    """The default configuration, with this task."""
    return TrainingConfig(task="tinystories")


TASK = Task(
    spec=describe_task(
        "tinystories",
        description="TinyStories in GPT-2's tokens on a GPT of six 384-wide layers",
        host=TransformerHostSpec(vocabulary=50_257, width=384, heads=6, layers=6, block=256),
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
        # One seed among several layers adds little, but over so many tokens it is significant.
        min_fossilize_improvement=0.1,
    ),
    preset=preset,
    load=load,
    is_here=is_here,
    fetch=fetch,
)
