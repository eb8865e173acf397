"""Calls of the library that may never return, with a time limit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from threading import Thread
from typing import NoReturn, TypeVar

from esper_karn.errors import KarnError

T = TypeVar("T")


class WandbHangsError(KarnError):
    """The library does not return. A process that catches it must leave with ``leave_process``."""


def call_within(seconds: float, function: Callable[[], T], message: str) -> T:
    """Calls a function in a thread of its own and waits for its result.

    Args:
        seconds: How long it may take.
        function: What to call.
        message: Of the error if it takes longer.

    Raises:
        WandbHangsError: If it takes longer; the thread then still runs.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            errors.append(error)

    thread = Thread(target=run, name="wandb", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise WandbHangsError(message)
    return results[0]


def leave_process(code: int) -> NoReturn:
    """Ends this process at once: the library's own exit handlers would wait forever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
