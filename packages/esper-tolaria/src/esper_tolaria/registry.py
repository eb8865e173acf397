"""Finds tasks, their presets and their data by name. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from esper_leyline import (
    DataSpec,
    EsperError,
    LeylineError,
    Registry,
    TaskSpec,
    TrainingConfig,
    unknown_name,
)
from esper_tolaria import tasks
from esper_tolaria.errors import MissingDataError, TolariaError
from esper_tolaria.tasks import Task

if TYPE_CHECKING:
    from esper_tolaria.datasets.splits import Dataset

DATA_ROOT = Path("data")
"""Default folder of downloaded data."""


def _check_plugin(name: str, part: object) -> Task:
    if not isinstance(part, Task):
        raise TolariaError(f"it is a {type(part).__name__}; an entry point refers to a Task")
    if part.spec.name != name:
        raise TolariaError(f"its spec is called '{part.spec.name}'; give both one name")
    taken = [each for each in part.more_presets if each in task_names()]
    if taken:
        raise TolariaError(f"its preset '{taken[0]}' has the name of a task; choose another name")
    return part


_PLUGINS = Registry("task", "esper.tasks", _check_plugin)


@cache
def _built_in_names() -> frozenset[str]:
    names = (module.name for module in iter_modules(tasks.__path__))
    return frozenset(name for name in names if not name.startswith("_"))


def task_names() -> tuple[str, ...]:
    """Returns the name of every task, sorted: built-in ones and those of plugins."""
    return tuple(sorted(_built_in_names().union(_PLUGINS.names())))


def find_task(name: str) -> Task:
    """Returns a task by name.

    A plugin adds a task with an entry point of the group ``esper.tasks`` that refers to a
    ``Task``.

    Raises:
        EsperError: If there is no such task, or a plugin's task cannot be used.
    """
    if name in _built_in_names():
        _PLUGINS.check_built_in(name)
        task = import_module(f"{tasks.__name__}.{name}").TASK
        assert isinstance(task, Task), f"TASK of {name} is {task!r}"
        return task
    if name not in _PLUGINS:
        raise TolariaError(unknown_name("task", name, task_names()))
    try:
        return _PLUGINS.get(name)
    except LeylineError as error:
        raise TolariaError(str(error)) from None


def preset_names() -> tuple[str, ...]:
    """Returns the name of every preset, sorted."""
    presets, _ = _presets()
    return tuple(sorted(presets))


def find_preset(name: str) -> TrainingConfig:
    """Returns the configuration of a preset.

    Raises:
        TolariaError: If there is no such preset.
    """
    presets, unusable = _presets()
    if name not in presets:
        said = (unknown_name("preset", name, presets), *unusable)
        raise TolariaError("; ".join(said))
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


def _presets() -> tuple[dict[str, Callable[[], TrainingConfig]], tuple[str, ...]]:
    """Returns every preset by name, and the errors of tasks that cannot be used."""
    found: dict[str, Callable[[], TrainingConfig]] = {}
    unusable = []
    for name in task_names():
        try:
            found |= find_task(name).presets
        except EsperError as error:
            # One broken plugin must not hide the presets of the others.
            unusable.append(str(error))
    return found, tuple(unusable)
