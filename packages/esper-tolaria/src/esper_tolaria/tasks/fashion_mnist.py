"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): ten kinds of clothes, on a small CNN."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esper_leyline import CNNHostSpec, DataSpec, HostTraining, TrainingConfig
from esper_tolaria.tasks._common import Task, describe_task, small_preset

if TYPE_CHECKING:
    from esper_tolaria.datasets.splits import Dataset

DATA = DataSpec(
    name="fashion_mnist",
    source="Fashion-MNIST, by torchvision or the Debian package dataset-fashion-mnist",
    input_shape=(1, 28, 28),
    classes=10,
    train_size=58_000,
    validation_size=2000,
    test_size=10_000,
)
TRAINING = HostTraining(
    optimizer="adamw",
    learning_rate=0.005,
    seed_learning_rate=0.005,
    weight_decay=1e-4,
    batch_size=128,
    max_batches=50,
)
"""An epoch is 6,400 images, different ones each time: a policy learns from many short epochs."""


def load(spec: DataSpec, root: Path) -> Dataset:
    """Reads the files of Fashion-MNIST."""
    from esper_tolaria.datasets.fashion_mnist import load_fashion_mnist

    return load_fashion_mnist(spec, root)


def is_here(root: Path) -> bool:
    """Whether the files of Fashion-MNIST exist."""
    from esper_tolaria.datasets.fashion_mnist import fashion_mnist_is_here

    return fashion_mnist_is_here(root)


def fetch(root: Path) -> None:
    """Downloads Fashion-MNIST."""
    from esper_tolaria.datasets.fashion_mnist import fetch_fashion_mnist

    fetch_fashion_mnist(root)


def preset() -> TrainingConfig:
    """Few, short episodes."""
    return small_preset("fashion_mnist")


TASK = Task(
    spec=describe_task(
        "fashion_mnist",
        description="Fashion-MNIST on three 8-channel blocks with kernel 3",
        host=CNNHostSpec(
            input_shape=DATA.input_shape, classes=10, widths=(8, 8, 8), pools=(True,) * 3
        ),
        data=DATA,
        training=TRAINING,
    ),
    preset=preset,
    load=load,
    is_here=is_here,
    fetch=fetch,
)
