"""Fashion-MNIST on a CNN with kernel 1, which sees single pixels until a seed has a larger one."""

from __future__ import annotations

from esper_leyline import CNNHostSpec, TrainingConfig
from esper_tolaria.tasks._common import Task, describe_task, small_preset
from esper_tolaria.tasks.fashion_mnist import DATA, TRAINING, fetch, is_here, load


def preset() -> TrainingConfig:
    """Few, short episodes."""
    return small_preset("fashion_mnist_blind")


TASK = Task(
    spec=describe_task(
        "fashion_mnist_blind",
        description="Fashion-MNIST on a blind host of 8, 16 and 16 channels with kernel 1",
        host=CNNHostSpec(
            input_shape=DATA.input_shape,
            classes=10,
            widths=(8, 16, 16),
            kernel=1,
            pools=(True,) * 3,
        ),
        data=DATA,
        training=TRAINING,
    ),
    preset=preset,
    load=load,
    is_here=is_here,
    fetch=fetch,
)
