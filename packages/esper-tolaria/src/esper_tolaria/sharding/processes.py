"""The parent's end of a worker process: it starts, asks, listens, and notices death."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import weakref
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from esper_tolaria.errors import TolariaError
from esper_tolaria.sharding.transports import unwrap
from esper_tolaria.sharding.worker import LEFT_TO_THE_PARENT, Reply, Request, serve

FAREWELL_SECONDS = 2.0
"""How long a worker may take to end by itself."""


class Worker:
    """The transport to a shard in a worker process of this machine.

    Attributes:
        name: What to call it in messages.
    """

    def __init__(self, name: str) -> None:
        """Starts the process and returns at once."""
        self.name = name
        self._asked = 0
        self._connection, theirs = _context().Pipe()
        # Not a daemon, which may have no children, and a DataLoader has some.
        self._process: SpawnProcess = _context().Process(target=serve, args=(theirs,))
        with _interrupts_held_back():
            self._process.start()
        theirs.close()
        # Interpreters that end wait for processes that are no daemons, so this one has to go.
        self._farewell = weakref.finalize(
            self, _end, self._connection, self._process, FAREWELL_SECONDS
        )

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self._process.pid

    def send(self, method: str, *arguments: Any) -> None:
        """Asks for a call of the shard's method.

        Raises:
            TolariaError: If the worker is dead.
        """
        self._asked += 1
        try:
            self._connection.send(Request(number=self._asked, method=method, arguments=arguments))
        except OSError:
            raise self._death() from None

    def receive(self) -> Any:
        """Waits for the answer to the last question; older answers are thrown away.

        Raises:
            TolariaError: If the call failed, with the worker's traceback as its cause, or
                if the worker died.
        """
        reply = self._next_reply()
        while reply.number != self._asked:
            reply = self._next_reply()
        return unwrap(self.name, reply)

    def close(self) -> None:
        """Ends the process: its pipe closes."""
        self._connection.close()

    def join(self, seconds: float = FAREWELL_SECONDS) -> None:
        """Waits until the process is gone, and kills it after ``seconds``."""
        if self._farewell.detach() is not None:
            _end(self._connection, self._process, seconds)

    def _next_reply(self) -> Reply:
        ready = wait([self._connection, self._process.sentinel])
        if self._connection not in ready:
            raise self._death()
        try:
            reply: Reply = self._connection.recv()
        except (EOFError, OSError):
            raise self._death() from None
        return reply

    def _death(self) -> TolariaError:
        self._process.join(FAREWELL_SECONDS)
        code = self._process.exitcode
        how = (
            f"was killed by signal {-code}" if code is not None and code < 0 else f"exited ({code})"
        )
        return TolariaError(
            f"{self.name} (process {self.pid}) {how}, and the hosts it held are lost. If memory "
            "ran out, use fewer worker processes (--workers, or 'workers' in a config) or fewer "
            "hosts ('n_envs'). A script that uses workers must start its work under "
            "'if __name__ == \"__main__\":'"
        )


def _end(connection: Connection, process: SpawnProcess, seconds: float) -> None:
    connection.close()
    try:
        process.join(seconds)
    finally:
        # Also when an interrupt ends the wait: nothing else would end the process.
        if process.is_alive():
            # It ignores polite signals, and a stopped process acts on none.
            process.kill()
            process.join(FAREWELL_SECONDS)


def _context() -> multiprocessing.context.SpawnContext:
    # A forked child would inherit torch's thread pools in an unusable state.
    return multiprocessing.get_context("spawn")


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Blocks stopping signals in a child from its start, until it ignores them itself.

    Those that come meanwhile reach this process as soon as the child is there.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_THE_PARENT)
    try:
        # Python's own helper process, started here, leaves some signals unblocked behind it.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_THE_PARENT)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
