"""How an environment communicates with the shards that hold its hosts."""

from __future__ import annotations

from typing import Any, Protocol

from esper_tolaria.errors import TolariaError, WorkerTracebackError
from esper_tolaria.sharding.worker import Reply, Request, Shard, handle


class Transport(Protocol):
    """The connection to one shard: ``send`` a request, then ``receive`` the reply.

    Only setups, data, actions and reports are sent; hosts stay where they are. So a shard
    may be in this process, in another one, or on another machine.

    Attributes:
        name: Names the shard in messages.
    """

    name: str

    @property
    def pid(self) -> int | None:
        """The id of the shard's process on this machine; ``None`` if it has none of its own."""
        ...

    def send(self, method: str, *arguments: Any) -> None:
        """Requests a call of the shard's method.

        Raises:
            TolariaError: If the connection is lost.
        """
        ...

    def receive(self) -> Any:
        """Waits for the reply to the last request; replies to earlier ones are discarded.

        Raises:
            TolariaError: If the call failed, with the shard's traceback as its cause, or
                if the connection is lost.
        """
        ...

    def close(self) -> None:
        """Asks the shard to stop."""
        ...

    def join(self, seconds: float) -> None:
        """Waits until the shard has stopped; after ``seconds`` it is killed."""
        ...


class LocalTransport:
    """A shard in this process; ``send`` makes the call.

    Attributes:
        name: Names the shard in messages.
    """

    pid = None

    def __init__(self, name: str) -> None:
        self.name = name
        self._shard = Shard()
        self._reply: Reply | None = None

    def send(self, method: str, *arguments: Any) -> None:
        """Makes the call."""
        self._reply = handle(self._shard, Request(number=0, method=method, arguments=arguments))

    def receive(self) -> Any:
        """Returns the result of the last call.

        Raises:
            TolariaError: If it failed.
        """
        assert self._reply is not None, "send comes first"
        return unwrap(self.name, self._reply)

    def close(self) -> None:
        """Releases the hosts."""
        self._shard, self._reply = Shard(), None

    def join(self, seconds: float) -> None:
        """Does nothing: there is no process."""


def unwrap(name: str, reply: Reply) -> Any:
    """Returns a reply's result.

    Raises:
        TolariaError: If the reply is an error; the cause holds the shard's traceback.
    """
    if reply.error is None:
        return reply.result
    raise TolariaError(f"{name}: {reply.error}") from WorkerTracebackError(reply.traceback)
