"""Execution engine of Esper: data, tasks and vectorised host-training environments."""

from __future__ import annotations

from esper_tolaria.build import build_environment, check_environment
from esper_tolaria.datasets import Dataset, Split, data_is_here, fetch_data, load_dataset
from esper_tolaria.datasets.augmentation import augment
from esper_tolaria.engine.checks import environment_state
from esper_tolaria.engine.governor import EpochStats, Governor, Instability
from esper_tolaria.engine.local import LocalEnvironment
from esper_tolaria.engine.setup import HostSetup, make_setup
from esper_tolaria.errors import TolariaError
from esper_tolaria.sharding.sharded import ShardedEnvironment
from esper_tolaria.tasks import TASKS, get_task

__all__ = [
    "TASKS",
    "Dataset",
    "EpochStats",
    "Governor",
    "HostSetup",
    "Instability",
    "LocalEnvironment",
    "ShardedEnvironment",
    "Split",
    "TolariaError",
    "augment",
    "build_environment",
    "check_environment",
    "data_is_here",
    "environment_state",
    "fetch_data",
    "get_task",
    "load_dataset",
    "make_setup",
]
