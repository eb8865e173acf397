"""Runs the server: binds its addresses first, then says where it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from esper_karn.web.access import Access, new_token, permitted_hosts
from esper_karn.web.application import application
from esper_karn.web.guard import MAX_BODY
from esper_karn.web.library import Library
from esper_karn.web.listener import LOOPBACK_ADDRESS, bind, own_addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Where a server listens, and what it shows.

    Attributes:
        root: A folder of runs, or one run's directory.
        port: The port; 0 takes a free one.
        everywhere: Whether it listens on all interfaces instead of loopback alone.
        allow_hosts: Further names by which browsers may call it.
        run: The run that the link opens, ``None`` for the list.
        snapshots: Folder of the snapshots of all runs, ``None`` to keep none.
    """

    root: Path
    port: int
    everywhere: bool = False
    allow_hosts: tuple[str, ...] = ()
    run: str | None = None
    snapshots: Path | None = None


def serve(options: ServerOptions, announce: Callable[[Sequence[str]], None]) -> None:
    """Serves until the process is interrupted.

    Args:
        options: Where it listens, and what it shows.
        announce: Takes the links, once the server listens; the first one is for this machine.

    Raises:
        KarnError: If the port is taken or not permitted.
    """
    listener = bind(options.port, everywhere=options.everywhere)
    port: int = listener.getsockname()[1]
    addresses = [LOOPBACK_ADDRESS, *(own_addresses() if options.everywhere else [])]
    token = new_token()
    access = Access(token=token, port=port, hosts=permitted_hosts(addresses, options.allow_hosts))
    config = uvicorn.Config(
        application(Library(options.root), access, options.snapshots),
        log_level="error",
        access_log=False,  # It would hold the token of the link.
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=MAX_BODY,
        h11_max_incomplete_event_size=MAX_BODY,
        timeout_graceful_shutdown=1,
    )
    path = "/" if options.run is None else f"/r/{options.run}"
    announce([f"http://{address}:{port}{path}?token={token}" for address in addresses])
    uvicorn.Server(config).run(sockets=[listener])
