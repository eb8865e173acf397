"""The routes of the server, and what they answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from esper_karn.errors import KarnError
from esper_karn.log.reader import EventReader
from esper_karn.runs.folder import resolve_log
from esper_karn.runs.records import read_run
from esper_karn.web.access import Access
from esper_karn.web.answers import RunsAnswer, answer_comparison, answer_frame, answer_log
from esper_karn.web.frames import FrameSocket
from esper_karn.web.guard import Guard
from esper_karn.web.library import Library
from esper_karn.web.open_runs import OpenRuns
from esper_karn.web.page import page_routes
from esper_karn.web.requests import (
    EventsRequest,
    compared_runs,
    events_request,
    frame_request,
    log_request,
)
from esper_leyline.events import encode_event


def application(library: Library, access: Access, snapshots: Path | None) -> Starlette:
    """Returns the server as an ASGI application.

    Args:
        library: The runs to show.
        access: What a request must carry.
        snapshots: Folder of the snapshots of all runs; ``None`` to keep none.
    """
    runs = OpenRuns(snapshots)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        runs.close()

    return Starlette(
        routes=[*_data_routes(library, runs), *page_routes()],
        middleware=[Middleware(Guard, access=access)],
        lifespan=lifespan,
    )


def _data_routes(library: Library, runs: OpenRuns) -> list[BaseRoute]:
    listed = RunsAnswer(library)

    async def list_runs(_: Request) -> Response:
        return _json(await run_in_threadpool(lambda: listed.answer(time.time())))

    async def compare(request: Request) -> Response:
        names = compared_runs(request.query_params.multi_items())

        def answer() -> bytes:
            return answer_comparison(runs, [library.find(name) for name in names])

        return _json(await run_in_threadpool(answer))

    async def socket(socket: WebSocket) -> None:
        await FrameSocket(socket, library, runs).serve()

    async def no_route(request: Request) -> Response:
        raise KarnError(f"there is nothing at '{request.url.path}'")

    return [
        Route("/api/runs", _answering(list_runs)),
        Route("/api/compare", _answering(compare)),
        *_run_routes(library, runs),
        Route("/api/{path:path}", _answering(no_route)),
        WebSocketRoute("/ws", socket),
    ]


def _run_routes(library: Library, runs: OpenRuns) -> list[BaseRoute]:
    async def frame(request: Request) -> Response:
        asked = frame_request({**request.query_params, "run": request.path_params["run"]})

        def answer() -> bytes:
            run = runs.get(library.find(asked.run))
            run.catch_up()
            return answer_frame(run, asked)

        return _json(await run_in_threadpool(answer))

    async def events(request: Request) -> Response:
        asked = events_request(dict(request.query_params))
        run = request.path_params["run"]
        found = await run_in_threadpool(lambda: _read_events(library.find(run), asked))
        return _json(b'{"events":[%s]}' % b",".join(found))

    async def log(request: Request) -> Response:
        asked = log_request(dict(request.query_params))
        run = request.path_params["run"]

        def answer() -> bytes:
            return answer_log(runs.get(library.find(run)), asked)

        return _json(await run_in_threadpool(answer))

    async def summary(request: Request) -> Response:
        run = request.path_params["run"]
        report = await run_in_threadpool(lambda: read_run(library.find(run)).report)
        return _json(TypeAdapter(type(report)).dump_json(report))

    return [
        Route("/api/runs/{run}/frame", _answering(frame)),
        Route("/api/runs/{run}/events", _answering(events)),
        Route("/api/runs/{run}/log", _answering(log)),
        Route("/api/runs/{run}/summary", _answering(summary)),
    ]


def _read_events(directory: Path, asked: EventsRequest) -> list[bytes]:
    """Returns events as JSON, from one sequence number on."""
    kinds = None if asked.kind is None else frozenset({asked.kind})
    found: list[bytes] = []
    with EventReader(resolve_log(directory), kinds=kinds) as reader:
        for event in reader.read():
            if event.sequence >= asked.from_sequence:
                found.append(encode_event(event))
            if len(found) == asked.limit:
                break
    return found


_Endpoint = Callable[[Request], Awaitable[Response]]


def _answering(endpoint: _Endpoint) -> _Endpoint:
    """Turns an error of Karn into an answer with its text."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except KarnError as error:
            return JSONResponse({"error": str(error)}, status_code=404)

    return answer


def _json(data: bytes) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(data, media_type="application/json", headers=headers)
