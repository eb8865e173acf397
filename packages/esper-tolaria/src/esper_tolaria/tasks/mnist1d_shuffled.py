"""MNIST-1D with its points in a fixed random order: a control without local structure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esper_leyline import DataSpec, TrainingConfig
from esper_tolaria.tasks._common import Task, describe_task, small_preset
from esper_tolaria.tasks.mnist1d import DATA, HOST, TRAINING

if TYPE_CHECKING:
    from esper_tolaria.datasets.splits import Dataset


def load(spec: DataSpec, root: Path) -> Dataset:
    """Generates the signals and reorders their points."""
    from esper_tolaria.datasets.mnist1d import load_shuffled_mnist1d

    return load_shuffled_mnist1d(spec, root)


def preset() -> TrainingConfig:
    """Few, short episodes."""
    return small_preset("mnist1d_shuffled")


TASK = Task(
    spec=describe_task(
        "mnist1d_shuffled",
        description="MNIST-1D with its points in a fixed random order, on the host of mnist1d",
        host=HOST,
        data=DATA.model_copy(update={"name": "mnist1d_shuffled"}),
        training=TRAINING,
    ),
    preset=preset,
    load=load,
)
