"""A shard whose episodes survive the death of its worker process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from esper_tolaria.errors import TolariaError, WorkerLostError
from esper_tolaria.sharding.transports import Transport

MOST_RESTARTS = 3
"""Workers that are started for one call before the run ends with an error."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a shard's method."""

    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A worker was started again.

    Attributes:
        reason: How the one before ended.
        environments: Environments whose episodes were replayed.
        replayed_epochs: Epochs that were replayed, over all of them.
    """

    reason: str
    environments: tuple[int, ...]
    replayed_epochs: int


class ReplayedShard:
    """A transport that starts a worker again when it dies, and replays its episodes.

    A host's trajectory follows from its seed and its actions alone, so the calls of the current
    episodes are all that has to be kept. A worker that dies before its first ``open`` has
    returned is not started again: it would die in the same way.

    Attributes:
        name: Names the shard in messages.
        transport: The connection to the current worker.

    Args:
        name: Names the shard in messages.
        start: Starts a worker by name.
        open_shard: Gives a worker that was started again its setup and its data.
        on_restart: Called after a worker was started again and has replayed the episodes.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[str], Transport],
        open_shard: Callable[[Transport], object],
        on_restart: Callable[[Restart], None],
    ) -> None:
        self.name = name
        self._start = start
        self._open_shard = open_shard
        self._on_restart = on_restart
        self._episode: list[Call] = []
        self._call = Call("", ())
        self.transport = start(name)

    @property
    def pid(self) -> int | None:
        """The process id of the current worker; ``None`` if it is not a process."""
        return self.transport.pid

    def send(self, method: str, *arguments: Any) -> None:
        """Requests a call of the shard's method."""
        self._call = Call(method, arguments)
        if method == "start":
            self._episode = []
        if method in {"start", "step"}:
            self._episode.append(self._call)
        try:
            self.transport.send(method, *arguments)
        except WorkerLostError:
            return  # ``receive`` detects the dead worker too

    def receive(self) -> Any:
        """Waits for the reply to the last request, from another worker if this one dies.

        Raises:
            TolariaError: If the call failed, or if ``MOST_RESTARTS`` workers died one after
                another before one replied.
        """
        try:
            return self.transport.receive()
        except WorkerLostError as error:
            return self._recover(error)

    def close(self) -> None:
        """Asks the worker to stop."""
        self.transport.close()

    def join(self, seconds: float) -> None:
        """Waits until the worker has stopped; after ``seconds`` it is killed."""
        self.transport.join(seconds)

    def _recover(self, lost: WorkerLostError) -> Any:
        """Makes the last call on another worker."""
        for _ in range(MOST_RESTARTS):
            try:
                self._restart(lost)
                self.transport.send(self._call.method, *self._call.arguments)
                return self.transport.receive()
            except WorkerLostError as again:
                lost = again
        raise TolariaError(
            f"{lost} It was started again {MOST_RESTARTS} times without getting further."
        ) from None

    def _restart(self, lost: WorkerLostError) -> None:
        """Replaces the worker by one that has replayed all calls before the last."""
        before = [call for call in self._episode if call is not self._call]
        fresh = self._start(self.name)
        try:
            self._open_shard(fresh)
            for call in before:
                fresh.send(call.method, *call.arguments)
                fresh.receive()
        except BaseException:
            # Also after an interrupt: the next call detects the dead worker again.
            _stop(fresh)
            raise
        dead, self.transport = self.transport, fresh
        _stop(dead)
        environments = tuple(index for index, _ in self._episode[0].arguments[0])
        steps = sum(call.method == "step" for call in before)
        self._on_restart(
            Restart(
                reason=lost.reason,
                environments=environments,
                replayed_epochs=steps * len(environments),
            )
        )


def _stop(transport: Transport) -> None:
    transport.close()
    transport.join(0.0)
