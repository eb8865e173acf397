"""The socket of a server. It is bound before its address is printed."""

from __future__ import annotations

import errno
import socket

import psutil

from esper_karn.errors import KarnError
from esper_leyline.files.paths import os_reason

LOOPBACK_ADDRESS = "127.0.0.1"
ALL_ADDRESSES = "0.0.0.0"  # noqa: S104  # Only where it was asked for.


def bind(port: int, *, everywhere: bool = False) -> socket.socket:
    """Returns a socket that listens on a port.

    Raises:
        KarnError: If the port is taken or not permitted.
    """
    address = ALL_ADDRESSES if everywhere else LOOPBACK_ADDRESS
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise KarnError(
                f"port {port} is taken by another process; name another port, or 0 for a free one"
            ) from None
        raise KarnError(f"cannot listen on port {port}: {os_reason(error)}") from error
    return listener


def own_addresses() -> list[str]:
    """Returns the addresses of this machine that others can call."""
    return sorted(
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family is socket.AF_INET and not entry.address.startswith("127.")
    )
