"""CIFAR-10 (Krizhevsky 2009): ten classes of small colour pictures, on three hosts."""

from __future__ import annotations

from esper_leyline import Augmentation, DataSpec, HostTraining, TaskSpec
from esper_tolaria.tasks.whole import whole_task

_DATA = DataSpec(
    name="cifar10",
    source="CIFAR-10, by torchvision",
    input_shape=(3, 32, 32),
    classes=10,
    train_size=45_000,
    validation_size=5000,
    test_size=10_000,
)
_TRAINING = HostTraining(
    optimizer="sgd",
    learning_rate=0.05,
    seed_learning_rate=0.05,
    momentum=0.9,
    weight_decay=5e-4,
    batch_size=512,
    augmentation=Augmentation(crop_padding=4, flip=True),
)


def cifar10_task() -> TaskSpec:
    """The pictures on a CNN of 6,418 parameters, which is too small for them."""
    return whole_task(
        "cifar10",
        description="CIFAR-10 on three blocks of 8, 16 and 32 channels",
        data=_DATA,
        training=_TRAINING,
    )


def cifar10_deep_task() -> TaskSpec:
    """The pictures on five blocks."""
    return whole_task(
        "cifar10_deep",
        description="CIFAR-10 on five blocks of 8 to 128 channels",
        data=_DATA,
        training=_TRAINING,
    )


def cifar10_blind_task() -> TaskSpec:
    """The pictures on a host that sees single pixels, until a seed sees more."""
    return whole_task(
        "cifar10_blind",
        description="CIFAR-10 on a blind host of 16, 32 and 64 channels with kernel 1",
        data=_DATA,
        training=_TRAINING,
    )
