"""CIFAR-10 (Krizhevsky 2009): ten classes of small colour images, on a CNN that is too small."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from esper_leyline import CNNHostSpec, DataSpec, HostTraining, PPOConfig, TrainingConfig
from esper_leyline.config.host import Augmentation
from esper_tolaria.tasks._common import Task, describe_task

if TYPE_CHECKING:
    from esper_tolaria.datasets.splits import Dataset

DATA = DataSpec(
    name="cifar10",
    source="CIFAR-10, by torchvision",
    input_shape=(3, 32, 32),
    classes=10,
    train_size=45_000,
    validation_size=5000,
    test_size=10_000,
)
TRAINING = HostTraining(
    optimizer="sgd",
    learning_rate=0.05,
    seed_learning_rate=0.05,
    momentum=0.9,
    weight_decay=5e-4,
    batch_size=512,
    augmentation=Augmentation(crop_padding=4, flip=True),
)


def load(spec: DataSpec, root: Path) -> Dataset:
    """Reads the files of CIFAR-10."""
    from esper_tolaria.datasets.cifar10 import load_cifar10

    return load_cifar10(spec, root)


def is_here(root: Path) -> bool:
    """Whether the files of CIFAR-10 exist."""
    from esper_tolaria.datasets.cifar10 import cifar10_is_here

    return cifar10_is_here(root)


def fetch(root: Path) -> None:
    """Downloads CIFAR-10."""
    from esper_tolaria.datasets.cifar10 import fetch_cifar10

    fetch_cifar10(root)


def preset() -> TrainingConfig:
    """The default configuration: 100 rounds of 4 hosts of 150 epochs."""
    return TrainingConfig(task="cifar10")


def stable_preset() -> TrainingConfig:
    """Slower, more reliable updates."""
    ppo = PPOConfig(
        learning_rate=1e-4,
        clip=0.1,
        entropy_coefficient=0.06,
        entropy_final=0.03,
        entropy_anneal_episodes=200,
    )
    return TrainingConfig(task="cifar10", ppo=ppo)


TASK = Task(
    spec=describe_task(
        "cifar10",
        description="CIFAR-10 on three blocks of 8, 16 and 32 channels",
        host=CNNHostSpec(
            input_shape=DATA.input_shape, classes=10, widths=(8, 16, 32), pools=(True,) * 3
        ),
        data=DATA,
        training=TRAINING,
    ),
    preset=preset,
    load=load,
    is_here=is_here,
    fetch=fetch,
    more_presets={"cifar10_stable": stable_preset},
)
