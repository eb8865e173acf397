"""The parent's end of a worker process: starts it, sends requests, and detects its death."""

from __future__ import annotations

import os
import weakref
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any

from esper_tolaria.errors import WorkerLostError
from esper_tolaria.sharding.fork_server import for_workers, fork_context
from esper_tolaria.sharding.transports import unwrap
from esper_tolaria.sharding.worker import Reply, Request, serve

STOP_SECONDS = 2.0
"""How long a worker may take to stop before it is killed."""


class ProcessTransport:
    """The transport to a shard in a worker process of this machine.

    Attributes:
        name: Names the shard in messages.
    """

    def __init__(self, name: str) -> None:
        """Starts the process and returns at once."""
        self.name = name
        self._sent = 0
        context = fork_context()
        self._connection, child_connection = context.Pipe()
        # Not a daemon: daemons may have no children, and a DataLoader has some.
        self._process: ForkServerProcess = context.Process(
            target=serve, args=(child_connection, os.getpid())
        )
        with for_workers():
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


def _stop(connection: Connection, process: ForkServerProcess, seconds: float) -> None:
    connection.close()
    try:
        process.join(seconds)
    finally:
        # Also if an interrupt ends the wait: nothing else would stop the process.
        if process.is_alive():
            # A worker ignores SIGTERM, and a stopped process handles no other signal.
            process.kill()
            process.join(STOP_SECONDS)
