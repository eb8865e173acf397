"""The tasks by name. A task is one module here and one line in ``TASKS``."""

from __future__ import annotations

from collections.abc import Callable

from esper_leyline import TaskSpec, unknown_name
from esper_tolaria.errors import TolariaError
from esper_tolaria.tasks.mnist1d import mnist1d_task

__all__ = ["LATER_TASKS", "TASKS", "get_task"]

TASKS: dict[str, Callable[[], TaskSpec]] = {"mnist1d": mnist1d_task}
"""Every task of this version by the name that ``--task`` takes."""

LATER_TASKS = ("cifar10", "cifar10_deep", "cifar10_blind", "tinystories")
"""Names that presets already use and that a later version brings."""


def get_task(name: str) -> TaskSpec:
    """Returns a task by name.

    Raises:
        TolariaError: If there is no such task, or not yet.
    """
    if name in TASKS:
        return TASKS[name]()
    if name in LATER_TASKS:
        raise TolariaError(
            f"task '{name}' comes with a later version of esper-tolaria; "
            f"this one has: {', '.join(sorted(TASKS))}"
        )
    raise TolariaError(unknown_name("task", name, TASKS))
