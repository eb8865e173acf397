"""How an environment talks to the shards that hold its hosts."""

from __future__ import annotations

from typing import Any, Protocol

from esper_tolaria.errors import TolariaError, WorkerTracebackError
from esper_tolaria.sharding.worker import Reply, Request, Shard, answer


class Transport(Protocol):
    """One shard's other end: ask with ``send``, then ``receive`` the answer.

    Only setups, data, actions and reports travel; hosts stay where they are. So a shard
    may live in this process, in another one, or on another machine.

    Attributes:
        name: What to call the shard in messages.
    """

    name: str

    @property
    def pid(self) -> int | None:
        """The id of the shard's process on this machine; ``None`` where it has none."""
        ...

    def send(self, method: str, *arguments: Any) -> None:
        """Asks for a call of the shard's method.

        Raises:
            TolariaError: If the shard is gone.
        """
        ...

    def receive(self) -> Any:
        """Waits for the answer to the last question; older answers are thrown away.

        Raises:
            TolariaError: If the call failed, with the shard's traceback as its cause, or
                if the shard is gone.
        """
        ...

    def close(self) -> None:
        """Lets the shard end."""
        ...

    def join(self, seconds: float) -> None:
        """Waits until the shard is gone; after ``seconds`` it is ended by force."""
        ...


class InProcess:
    """A shard in this process, which answers before it is waited for.

    Attributes:
        name: What to call the shard in messages.
    """

    pid = None

    def __init__(self, name: str) -> None:
        self.name = name
        self._shard = Shard()
        self._reply: Reply | None = None

    def send(self, method: str, *arguments: Any) -> None:
        """Makes the call."""
        self._reply = answer(self._shard, Request(number=0, method=method, arguments=arguments))

    def receive(self) -> Any:
        """Returns what the last call returned.

        Raises:
            TolariaError: If it failed.
        """
        assert self._reply is not None, "send comes first"
        return unwrap(self.name, self._reply)

    def close(self) -> None:
        """Lets go of the hosts."""
        self._shard, self._reply = Shard(), None

    def join(self, seconds: float) -> None:
        """Has nothing to wait for."""


def unwrap(name: str, reply: Reply) -> Any:
    """Returns a reply's result.

    Raises:
        TolariaError: If it tells of an error; its cause holds the shard's traceback.
    """
    if reply.error is None:
        return reply.result
    raise TolariaError(f"{name}: {reply.error}") from WorkerTracebackError(reply.traceback)
