"""The process from which workers are forked, with torch already imported.

Importing torch takes seconds, and a worker that is forked from a process which has imported it
starts at once. That process runs nothing else, so its children inherit no thread in an unusable
state. Nothing here imports torch, so that a program can start the process first and import torch
itself meanwhile.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext

PARENT_SIGNALS = frozenset(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
"""Signals that terminals and schedulers send to every process; only the parent handles them."""

MALLOC_SETTINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
"""Environment variables with which glibc keeps freed memory for the next batch.

By default glibc maps memory for each large tensor and unmaps it when it is freed, so every batch
has page faults: a seventh of an epoch's time for the cifar10 host. Other C libraries ignore them.
"""

_IMPORTED_FIRST = ["esper_tolaria.sharding.worker"]


def start_fork_server() -> None:
    """Starts the process if it does not run, and returns at once; it ends with this process."""
    fork_context()  # says what is imported first
    with for_workers():
        forkserver.ensure_running()


def fork_context() -> ForkServerContext:
    """Returns the context in which workers are started."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED_FIRST)
    return context


@contextlib.contextmanager
def for_workers() -> Iterator[None]:
    """Blocks the signals of the parent and sets the environment of workers that start meanwhile."""
    with _signals_blocked(), _environment(MALLOC_SETTINGS):
        yield


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Blocks the signals of ``PARENT_SIGNALS`` while a child starts, until it ignores them itself.

    This process handles signals that arrive meanwhile when the context ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PARENT_SIGNALS)
    try:
        # Starting Python's resource tracker unblocks some signals, so it is started first.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, PARENT_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Sets environment variables for a child that starts in the context.

    Variables that are set already keep their values.
    """
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
