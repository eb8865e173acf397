"""Who may ask: addresses, the token and its cookie."""

from __future__ import annotations

import hashlib
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of this machine that lead to no other."""

TOKEN_BYTES = 16
"""128 bits."""


def new_token() -> str:
    """Returns a random token for a link."""
    return secrets.token_urlsafe(TOKEN_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a request must carry.

    The cookie holds a digest of the token, so that the address with the token is not in it. Its
    name has the port: browsers share the cookies of all ports of a host.

    Attributes:
        token: The secret part of the printed link.
        port: The port of the server.
        hosts: Names and addresses that the ``Host`` header may have, without port.
    """

    token: str = field(repr=False)
    port: int
    hosts: frozenset[str]

    @property
    def cookie_name(self) -> str:
        """Name of the cookie, one for each port."""
        return f"esper_{self.port}"

    @property
    def cookie_value(self) -> str:
        """What the cookie of a permitted browser holds."""
        return hashlib.sha256(f"esper {self.token}".encode()).hexdigest()

    def permits_host(self, header: str | None) -> bool:
        """Whether the ``Host`` header names this server.

        A page on another site can send a browser here under a name of its own (DNS rebinding);
        such a request has that name in its header.
        """
        name = host_name(header or "")
        return name is not None and name in self.hosts

    def permits_origin(self, header: str | None, scheme: str, host: str) -> bool:
        """Whether the ``Origin`` header is this server's own address."""
        return header is not None and header.lower() == f"{scheme}://{host}".lower()

    def permits_token(self, token: str) -> bool:
        """Whether a token is the right one, in a time that tells nothing about it."""
        return secrets.compare_digest(token.encode(), self.token.encode())

    def permits_cookies(self, header: str) -> bool:
        """Whether the ``Cookie`` header holds the cookie that the link sets."""
        try:
            found = SimpleCookie(header).get(self.cookie_name)
        except CookieError:
            return False
        value = found.value if found else ""
        return secrets.compare_digest(value.encode(), self.cookie_value.encode())

    def set_cookie(self) -> str:
        """Returns the ``Set-Cookie`` header of the link."""
        return f"{self.cookie_name}={self.cookie_value}; HttpOnly; SameSite=Strict; Path=/"


def host_name(header: str) -> str | None:
    """Returns the host of a ``Host`` header in lower case, without port and brackets.

    Returns:
        ``None`` if the header is not a host with an optional port.
    """
    try:
        parts = urlsplit(f"//{header}")
        parts.port  # noqa: B018  # Raises where the port is not a number.
    except ValueError:
        return None
    name = parts.hostname
    if name is None or not name.isascii() or parts.netloc != header or parts.username is not None:
        return None
    return name.rstrip(".").lower()  # ``urlsplit`` leaves an IPv6 zone as it is.


def permitted_hosts(bound: Iterable[str], extra: Iterable[str] = ()) -> frozenset[str]:
    """Returns the names that lead to a server.

    Args:
        bound: The addresses on which it listens.
        extra: Further names that were permitted by hand.
    """
    own = socket.gethostname().lower()
    names = {*LOOPBACK, own, f"{own}.local", *bound, *(name.lower() for name in extra)}
    return frozenset(names - {"0.0.0.0", "::"})  # noqa: S104  # Not bound: taken out.
