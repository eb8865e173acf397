"""Runs a server: its address is bound first, so that a printed link is never wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from esper_karn.web.access import Access, new_token, permitted_hosts
from esper_karn.web.application import application
from esper_karn.web.guard import MAX_BODY
from esper_karn.web.library import Library
from esper_karn.web.listener import LOOPBACK_ADDRESS, bind, own_addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A server that listens and does not answer yet.

    Attributes:
        listener: Its socket.
        access: What a request must carry.
        addresses: Where it can be called, this machine's own address first.
    """

    listener: socket.socket
    access: Access
    addresses: tuple[str, ...]

    def links(self, run: str | None = None) -> list[str]:
        """Returns a link for each address.

        Args:
            run: The run that they open, ``None`` for the list of runs.
        """
        path = "/" if run is None else f"/r/{run}"
        return [
            f"http://{address}:{self.access.port}{path}?token={self.access.token}"
            for address in self.addresses
        ]


def bind_server(port: int, *, everywhere: bool = False, allow_hosts: Sequence[str] = ()) -> Binding:
    """Binds the address of a server.

    Args:
        port: The port; 0 takes a free one.
        everywhere: Whether it listens on all interfaces instead of loopback alone.
        allow_hosts: Further names by which browsers may call it.

    Raises:
        KarnError: If the port is taken or not permitted.
    """
    listener = bind(port, everywhere=everywhere)
    addresses = (LOOPBACK_ADDRESS, *(own_addresses() if everywhere else ()))
    access = Access(
        token=new_token(),
        port=listener.getsockname()[1],
        hosts=permitted_hosts(addresses, allow_hosts),
    )
    return Binding(listener=listener, access=access, addresses=addresses)


def serve(
    binding: Binding,
    root: Path,
    *,
    snapshots: Path | None = None,
    until: Callable[[], object] | None = None,
) -> None:
    """Serves runs until the process is interrupted.

    Args:
        binding: Where to listen, and what a request must carry.
        root: A folder of runs, or one run's directory; it may appear later.
        snapshots: Folder of the snapshots of all runs, ``None`` to keep none.
        until: Called in a thread of its own; the server stops when it returns.
    """
    server = server_of(application(Library(root), binding.access, snapshots))
    if until is not None:

        def stop() -> None:
            until()
            server.should_exit = True

        threading.Thread(target=stop, daemon=True).start()
    server.run(sockets=[binding.listener])


def server_of(app: ASGIApp) -> uvicorn.Server:
    """Returns the server of an application, with its limits."""
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,  # It would hold the token of the link.
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=MAX_BODY,
        h11_max_incomplete_event_size=MAX_BODY,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)
