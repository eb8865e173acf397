"""MNIST-1D on a CNN with kernel 1, which sees single points until a seed has a larger kernel."""

from __future__ import annotations

from esper_leyline import BlendStyle, CNNHostSpec, TrainingConfig
from esper_tolaria.tasks._common import Task, describe_task, small_preset
from esper_tolaria.tasks.mnist1d import DATA, TRAINING, load


def preset() -> TrainingConfig:
    """Few, short episodes: a whole run takes a minute or two on a CPU."""
    return small_preset("mnist1d_blind")


TASK = Task(
    spec=describe_task(
        "mnist1d_blind",
        description="MNIST-1D on a blind host of three 16-channel blocks with kernel 1",
        host=CNNHostSpec(
            input_shape=DATA.input_shape,
            classes=10,
            widths=(16, 16, 16),
            kernel=1,
            pools=(True,) * 3,
        ),
        data=DATA,
        training=TRAINING,
        styles=(BlendStyle.LINEAR_ADD, BlendStyle.SIGMOID_ADD),
    ),
    preset=preset,
    load=load,
)
