"""The tasks by name. A task is one function here and one line in ``TASKS``."""

from __future__ import annotations

from collections.abc import Callable

from esper_leyline import TaskSpec, unknown_name
from esper_tolaria.errors import TolariaError
from esper_tolaria.tasks.cifar10 import cifar10_blind_task, cifar10_deep_task, cifar10_task
from esper_tolaria.tasks.digits import digits_task
from esper_tolaria.tasks.fashion_mnist import fashion_mnist_blind_task, fashion_mnist_task
from esper_tolaria.tasks.mnist1d import mnist1d_blind_task, mnist1d_shuffled_task, mnist1d_task
from esper_tolaria.tasks.tinystories import tinystories_task
from esper_tolaria.tasks.topics import topics_task

__all__ = ["TASKS", "get_task"]

TASKS: dict[str, Callable[[], TaskSpec]] = {
    "mnist1d": mnist1d_task,
    "mnist1d_blind": mnist1d_blind_task,
    "mnist1d_shuffled": mnist1d_shuffled_task,
    "digits": digits_task,
    "topics": topics_task,
    "fashion_mnist": fashion_mnist_task,
    "fashion_mnist_blind": fashion_mnist_blind_task,
    "cifar10": cifar10_task,
    "cifar10_deep": cifar10_deep_task,
    "cifar10_blind": cifar10_blind_task,
    "tinystories": tinystories_task,
}
"""Every task by the name that ``--task`` takes."""


def get_task(name: str) -> TaskSpec:
    """Returns a task by name.

    Raises:
        TolariaError: If there is no such task.
    """
    if name not in TASKS:
        raise TolariaError(unknown_name("task", name, TASKS))
    return TASKS[name]()
