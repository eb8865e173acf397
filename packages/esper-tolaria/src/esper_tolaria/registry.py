"""Finds tasks, their presets and their data by name. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from esper_leyline import DataSpec, TaskSpec, TrainingConfig, unknown_name
from esper_tolaria import tasks
from esper_tolaria.errors import MissingDataError, TolariaError
from esper_tolaria.tasks import Task

if TYPE_CHECKING:
    from esper_tolaria.datasets.splits import Dataset

DATA_ROOT = Path("data")
"""Default folder of downloaded data."""


def task_names() -> tuple[str, ...]:
    """Returns the name of every task, sorted."""
    names = (module.name for module in iter_modules(tasks.__path__))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def find_task(name: str) -> Task:
    """Returns a task by name.

    Raises:
        TolariaError: If there is no such task.
    """
    if name not in task_names():
        raise TolariaError(unknown_name("task", name, task_names()))
    task = import_module(f"{tasks.__name__}.{name}").TASK
    assert isinstance(task, Task), f"TASK of {name} is {task!r}"
    return task


def preset_names() -> tuple[str, ...]:
    """Returns the name of every preset, sorted."""
    return tuple(sorted(_presets()))


def find_preset(name: str) -> TrainingConfig:
    """Returns the configuration of a preset.

    Raises:
        TolariaError: If there is no such preset.
    """
    presets = _presets()
    if name not in presets:
        raise TolariaError(unknown_name("preset", name, presets))
    return presets[name]()


def data_is_here(task: TaskSpec, root: Path = DATA_ROOT) -> bool:
    """Whether a task's data can be loaded without a download.

    Raises:
        TolariaError: If there is no such task.
    """
    return find_task(task.name).is_here(root)


def fetch_data(task: TaskSpec, root: Path = DATA_ROOT) -> None:
    """Downloads a task's data to a folder under ``root``, unless it is there.

    Raises:
        TolariaError: If there is no such task, or the download failed.
    """
    found = find_task(task.name)
    if found.fetch is None or found.is_here(root):
        return
    try:
        found.fetch(root)
    except MissingDataError as error:
        others = ", ".join(name for name in task_names() if find_task(name).fetch is None)
        raise TolariaError(f"{error}; tasks that need no download: {others}") from None


def load_dataset(task: TaskSpec, root: Path = DATA_ROOT) -> Dataset:
    """Returns a task's data, which is downloaded first if it is not there.

    It is created once per process and shared, also by tasks with the same data; do not write
    to it.

    Raises:
        TolariaError: If there is no such task, the download failed, or files are damaged.
    """
    fetch_data(task, root)
    return _load(find_task(task.name).load, task.data, root)


@cache
def _load(load: Callable[[DataSpec, Path], Dataset], spec: DataSpec, root: Path) -> Dataset:
    return load(spec, root)


def _presets() -> dict[str, Callable[[], TrainingConfig]]:
    found: dict[str, Callable[[], TrainingConfig]] = {}
    for name in task_names():
        found |= find_task(name).presets
    return found
