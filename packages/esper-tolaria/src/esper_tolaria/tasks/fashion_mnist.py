"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): ten kinds of clothes, on two hosts."""

from __future__ import annotations

from esper_leyline import DataSpec, HostTraining, TaskSpec
from esper_tolaria.tasks.whole import whole_task

_DATA = DataSpec(
    name="fashion_mnist",
    source="Fashion-MNIST, by torchvision or the Debian package dataset-fashion-mnist",
    input_shape=(1, 28, 28),
    classes=10,
    train_size=58_000,
    validation_size=2000,
    test_size=10_000,
)
_TRAINING = HostTraining(
    optimizer="adamw",
    learning_rate=0.005,
    seed_learning_rate=0.005,
    weight_decay=1e-4,
    batch_size=128,
    max_batches=50,
)
"""An epoch is 6,400 pictures, others each time: a policy learns from many short epochs."""


def fashion_mnist_task() -> TaskSpec:
    """The pictures on a small CNN."""
    return whole_task(
        "fashion_mnist",
        description="Fashion-MNIST on three 8-channel blocks with kernel 3",
        data=_DATA,
        training=_TRAINING,
    )


def fashion_mnist_blind_task() -> TaskSpec:
    """The pictures on a host that sees single pixels, until a seed sees more."""
    return whole_task(
        "fashion_mnist_blind",
        description="Fashion-MNIST on a blind host of 8, 16 and 16 channels with kernel 1",
        data=_DATA,
        training=_TRAINING,
    )
