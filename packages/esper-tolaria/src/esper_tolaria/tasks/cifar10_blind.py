"""CIFAR-10 on a CNN with kernel 1, which sees single pixels until a seed has a larger one."""

from __future__ import annotations

from esper_leyline import CNNHostSpec, TrainingConfig
from esper_tolaria.tasks._common import Task, describe_task
from esper_tolaria.tasks.cifar10 import DATA, TRAINING, fetch, is_here, load


def preset() -> TrainingConfig:
    """The default configuration, with this task."""
    return TrainingConfig(task="cifar10_blind")


TASK = Task(
    spec=describe_task(
        "cifar10_blind",
        description="CIFAR-10 on a blind host of 16, 32 and 64 channels with kernel 1",
        host=CNNHostSpec(
            input_shape=DATA.input_shape,
            classes=10,
            widths=(16, 32, 64),
            kernel=1,
            pools=(False,) * 3,
        ),
        data=DATA,
        training=TRAINING,
    ),
    preset=preset,
    load=load,
    is_here=is_here,
    fetch=fetch,
)
