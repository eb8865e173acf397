"""CIFAR-10 on a CNN of five blocks."""

from __future__ import annotations

from esper_leyline import CNNHostSpec, TrainingConfig
from esper_tolaria.tasks._common import Task, describe_task
from esper_tolaria.tasks.cifar10 import DATA, TRAINING, fetch, is_here, load


def preset() -> TrainingConfig:
    """The default configuration, with this task."""
    return TrainingConfig(task="cifar10_deep")


TASK = Task(
    spec=describe_task(
        "cifar10_deep",
        description="CIFAR-10 on five blocks of 8 to 128 channels",
        host=CNNHostSpec(
            input_shape=DATA.input_shape,
            classes=10,
            widths=(8, 16, 32, 64, 128),
            pools=(True,) * 5,
        ),
        data=DATA,
        training=TRAINING,
    ),
    preset=preset,
    load=load,
    is_here=is_here,
    fetch=fetch,
)
