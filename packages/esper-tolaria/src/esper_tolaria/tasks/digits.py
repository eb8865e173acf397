"""Handwritten digits of 8 by 8 pixels (Alpaydin and Kaynak 1998) on a small MLP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esper_leyline import DataSpec, HostTraining, MLPHostSpec, TrainingConfig
from esper_tolaria.tasks._common import Task, describe_task, small_preset

if TYPE_CHECKING:
    from esper_tolaria.datasets.splits import Dataset


def load(spec: DataSpec, root: Path) -> Dataset:
    """Reads the digits, which are part of this package."""
    from esper_tolaria.datasets.digits import load_digits

    return load_digits(spec, root)


def preset() -> TrainingConfig:
    """Few, short episodes."""
    return small_preset("digits")


TASK = Task(
    spec=describe_task(
        "digits",
        description="handwritten digits of 8 x 8 pixels on an MLP of three 8-wide layers",
        host=MLPHostSpec(input_shape=(1, 8, 8), classes=10, widths=(8, 8, 8)),
        data=DataSpec(
            name="digits",
            source="UCI's optical recognition of handwritten digits, in this package",
            input_shape=(1, 8, 8),
            classes=10,
            train_size=1000,
            validation_size=397,
            test_size=400,
        ),
        training=HostTraining(
            optimizer="adamw",
            learning_rate=0.01,
            seed_learning_rate=0.01,
            weight_decay=1e-4,
            batch_size=50,
        ),
    ),
    preset=preset,
    load=load,
)
