"""The parent's end of a worker process: starts it, sends requests, and detects its death."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import weakref
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from esper_tolaria.errors import WorkerLostError
from esper_tolaria.sharding.transports import unwrap
from esper_tolaria.sharding.worker import PARENT_SIGNALS, Reply, Request, serve

STOP_SECONDS = 2.0
"""How long a worker may take to stop before it is killed."""

MALLOC_SETTINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
"""Environment variables with which glibc keeps freed memory for the next batch.

By default glibc maps memory for each large tensor and unmaps it when it is freed, so every batch
has page faults: a seventh of an epoch's time for the cifar10 host. Other C libraries ignore them.
"""


class ProcessTransport:
    """The transport to a shard in a worker process of this machine.

    Attributes:
        name: Names the shard in messages.
    """

    def __init__(self, name: str) -> None:
        """Starts the process and returns at once."""
        self.name = name
        self._sent = 0
        self._connection, child_connection = _context().Pipe()
        # Not a daemon: daemons may have no children, and a DataLoader has some.
        self._process: SpawnProcess = _context().Process(target=serve, args=(child_connection,))
        with _signals_blocked(), _environment(MALLOC_SETTINGS):
            self._process.start()
        child_connection.close()
        # At exit an interpreter waits for processes that are no daemons, so this one is stopped.
        self._finalizer = weakref.finalize(
            self, _stop, self._connection, self._process, STOP_SECONDS
        )

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self._process.pid

    def send(self, method: str, *arguments: Any) -> None:
        """Requests a call of the shard's method.

        Raises:
            WorkerLostError: If the worker is dead.
        """
        self._sent += 1
        try:
            self._connection.send(Request(number=self._sent, method=method, arguments=arguments))
        except OSError:
            raise self._dead_worker() from None

    def receive(self) -> Any:
        """Waits for the reply to the last request; replies to earlier ones are discarded.

        Raises:
            TolariaError: If the call failed, with the worker's traceback as its cause.
            WorkerLostError: If the worker died.
        """
        reply = self._next_reply()
        while reply.number != self._sent:
            reply = self._next_reply()
        return unwrap(self.name, reply)

    def close(self) -> None:
        """Closes the pipe, which stops the process."""
        self._connection.close()

    def join(self, seconds: float = STOP_SECONDS) -> None:
        """Waits until the process has stopped, and kills it after ``seconds``."""
        if self._finalizer.detach() is not None:
            _stop(self._connection, self._process, seconds)

    def _next_reply(self) -> Reply:
        ready = wait([self._connection, self._process.sentinel])
        if self._connection not in ready:
            raise self._dead_worker()
        try:
            reply: Reply = self._connection.recv()
        except (EOFError, OSError):
            raise self._dead_worker() from None
        return reply

    def _dead_worker(self) -> WorkerLostError:
        self._process.join(STOP_SECONDS)
        code = self._process.exitcode
        how = (
            f"was killed by signal {-code}" if code is not None and code < 0 else f"exited ({code})"
        )
        return WorkerLostError(
            f"{self.name} (process {self.pid}) {how}, and the hosts it held are lost. If memory "
            "ran out, use fewer worker processes (--workers, or 'workers' in a config) or fewer "
            "hosts ('n_envs'). A script that uses workers must start its work under "
            "'if __name__ == \"__main__\":'.",
            how,
        )


def _stop(connection: Connection, process: SpawnProcess, seconds: float) -> None:
    connection.close()
    try:
        process.join(seconds)
    finally:
        # Also if an interrupt ends the wait: nothing else would stop the process.
        if process.is_alive():
            # A worker ignores SIGTERM, and a stopped process handles no other signal.
            process.kill()
            process.join(STOP_SECONDS)


def _context() -> multiprocessing.context.SpawnContext:
    # A forked child would inherit torch's thread pools in an unusable state.
    return multiprocessing.get_context("spawn")


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
