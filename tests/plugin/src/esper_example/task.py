"""A task: a host, its data, how it trains, and the preset of the same name.

Torch is imported where data is made, so that ``esper-train --help`` stays fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esper_leyline import (
    BlendStyle,
    CNNHostSpec,
    DataSpec,
    HostTraining,
    PolicyConfig,
    TaskSpec,
    TrainingConfig,
)
from esper_tolaria import Task

if TYPE_CHECKING:
    from esper_tolaria import Dataset

CLASSES = 3
DATA = DataSpec(
    name="waves",
    source="sine waves of three frequencies in noise, made from a fixed seed",
    input_shape=(1, 32),
    classes=CLASSES,
    train_size=240,
    validation_size=120,
    test_size=120,
)


def load(spec: DataSpec, _root: Path) -> Dataset:
    """Makes the waves."""
    import torch

    from esper_tolaria import Dataset, Split

    generator = torch.Generator().manual_seed(7)

    def split(rows: int) -> Split:
        labels = torch.arange(rows) % CLASSES
        phases = torch.rand(rows, 1, generator=generator) * 6.28
        time = torch.linspace(0, 6.28, spec.input_shape[1])
        signals = torch.sin(time * (labels.unsqueeze(1) + 1) + phases)
        noise = torch.randn(signals.shape, generator=generator)
        return Split((signals + 0.5 * noise).unsqueeze(1), labels)

    sizes = (spec.train_size, spec.validation_size, spec.test_size)
    train, validation, test = (split(rows) for rows in sizes)
    return Dataset(train=train, validation=validation, test=test, rng_seed=7)


def preset() -> TrainingConfig:
    """A run of seconds."""
    return TrainingConfig(
        task="waves",
        n_episodes=2,
        n_envs=2,
        max_epochs=8,
        policy=PolicyConfig(feature_size=16, memory_size=16),
    )


WAVES = Task(
    spec=TaskSpec(
        name="waves",
        description="Frequencies of waves, on a small convolutional host",
        host=CNNHostSpec(
            input_shape=DATA.input_shape, classes=CLASSES, widths=(4, 4), pools=(True, True)
        ),
        data=DATA,
        training=HostTraining(optimizer="adamw", learning_rate=0.01, batch_size=60),
        slots=("r0c0", "r0c1"),
        blueprints=("conv_light", "dilated"),
        styles=tuple(BlendStyle),
    ),
    preset=preset,
    load=load,
)
