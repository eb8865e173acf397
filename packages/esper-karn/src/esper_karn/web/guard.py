"""Middleware that refuses what is not permitted, and sets the headers of every answer."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from esper_karn.web.access import Access

MAX_BODY = 64 << 10
"""Longest body of a request, in bytes."""

MAX_SOCKETS = 32
"""Sockets open at a time."""

TRY_LATER = 1013
"""Close code of a socket that is over the limit."""

NOT_PERMITTED = 1008
"""Close code of a socket that is refused."""

HEADERS = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""Headers of every answer."""

PRIVATE = ("/api/", "/ws")
"""How the paths start that need the token; the page itself holds no data."""


class Guard:
    """Checks each request before the application sees it.

    Args:
        app: The application.
        access: What a request must carry.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] == "http":
            await self._http(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Returns the answer to a request that the application may not see."""
        host = headers.get("host")
        if not self._access.permits_host(host):
            return _error(
                421,
                f"host '{host}' is not permitted; esper-overwatch web --allow-host permits it",
            )
        if scope["method"] != "GET":
            return _error(405, "only GET is answered here", {"allow": "GET"})
        if _body_length(headers) > MAX_BODY:
            return _error(413, f"the request is longer than {MAX_BODY >> 10} kB")
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in query if name == "token"]
        if tokens:
            return self._admit(scope["path"], tokens[0], query)
        if scope["path"].startswith(PRIVATE) and not self._has_cookie(headers):
            return _error(401, "the token is missing; open the link that was printed at the start")
        return None

    def _admit(self, path: str, token: str, query: Iterable[tuple[str, str]]) -> Response:
        """Trades the token of a link for a cookie, and leads to the address without it."""
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # One slash: with two, a browser would take the rest of the path for a host.
        address = "/" + path.lstrip("/\\") + (f"?{rest}" if rest else "")
        if not self._access.permits_token(token):
            return RedirectResponse(address, status_code=303)
        cookie = {"set-cookie": self._access.set_cookie()}
        return RedirectResponse(address, status_code=303, headers=cookie)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        scheme = "https" if scope["scheme"] == "wss" else "http"
        permitted = (
            self._access.permits_host(host)
            and self._access.permits_origin(headers.get("origin"), scheme, host)
            and self._has_cookie(headers)
        )
        full = self._sockets >= MAX_SOCKETS
        if not permitted or full:
            socket = WebSocket(scope, receive, send)
            await socket.close(TRY_LATER if permitted else NOT_PERMITTED)
            return
        self._sockets += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._sockets -= 1

    def _has_cookie(self, headers: Headers) -> bool:
        return self._access.permits_cookies("; ".join(headers.getlist("cookie")))


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return send_with_headers


def _body_length(headers: Headers) -> int:
    """Returns the stated length; a body without one counts as too long."""
    if "transfer-encoding" in headers:
        return MAX_BODY + 1
    stated = headers.get("content-length", "0")
    return int(stated) if stated.isdecimal() else MAX_BODY + 1


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status, headers=headers)
