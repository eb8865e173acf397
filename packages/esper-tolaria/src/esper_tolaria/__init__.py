"""Execution engine of Esper: data, tasks and vectorised host-training environments.

Names are imported when they are first used, so that ``find_task`` and ``find_preset`` can be used
without loading torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esper_tolaria.build import build_environment, check_environment
    from esper_tolaria.datasets.augmentation import augment
    from esper_tolaria.datasets.splits import Dataset, Split
    from esper_tolaria.engine.governor import EpochStats, Governor, Instability
    from esper_tolaria.engine.local import LocalEnvironment
    from esper_tolaria.engine.setup import HostSetup, make_setup
    from esper_tolaria.errors import TolariaError
    from esper_tolaria.registry import (
        data_is_here,
        fetch_data,
        find_preset,
        find_task,
        load_dataset,
        preset_names,
        task_names,
    )
    from esper_tolaria.sharding.fork_server import start_fork_server
    from esper_tolaria.sharding.sharded import ShardedEnvironment
    from esper_tolaria.tasks import Task

__all__ = [
    "Dataset",
    "EpochStats",
    "Governor",
    "HostSetup",
    "Instability",
    "LocalEnvironment",
    "ShardedEnvironment",
    "Split",
    "Task",
    "TolariaError",
    "augment",
    "build_environment",
    "check_environment",
    "data_is_here",
    "fetch_data",
    "find_preset",
    "find_task",
    "load_dataset",
    "make_setup",
    "preset_names",
    "start_fork_server",
    "task_names",
]

_NAMES_BY_MODULE = {
    "build": ("build_environment", "check_environment"),
    "datasets.augmentation": ("augment",),
    "datasets.splits": ("Dataset", "Split"),
    "engine.governor": ("EpochStats", "Governor", "Instability"),
    "engine.local": ("LocalEnvironment",),
    "engine.setup": ("HostSetup", "make_setup"),
    "errors": ("TolariaError",),
    "registry": (
        *("data_is_here", "fetch_data", "load_dataset"),
        *("find_preset", "find_task", "preset_names", "task_names"),
    ),
    "sharding.fork_server": ("start_fork_server",),
    "sharding.sharded": ("ShardedEnvironment",),
    "tasks": ("Task",),
}
_MODULES = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
