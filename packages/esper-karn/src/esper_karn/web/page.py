"""The built page: files that lie beside this module."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

PAGE = Path(str(files("esper_karn.web") / "page"))
"""The folder of the built page."""

_FOR_EVER = {"cache-control": "public, max-age=31536000, immutable"}
_ASK_AGAIN = {"cache-control": "no-cache"}


def page_routes() -> list[BaseRoute]:
    """Returns the routes of the page; each address of the page is the same file."""

    async def index(_: Request) -> Response:
        return FileResponse(PAGE / "index.html", headers=_ASK_AGAIN)

    return [
        Mount("/assets", _Assets(directory=PAGE / "assets", check_dir=False)),
        *(Route(path, index) for path in ("/", "/r/{run}", "/compare")),
    ]


class _Assets(StaticFiles):
    """Files whose names have a digest of their content: a browser keeps them for ever."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(_FOR_EVER)
        return response
