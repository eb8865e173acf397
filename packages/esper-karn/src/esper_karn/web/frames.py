"""Answers over a socket: one frame for each request, when there is news."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from esper_karn.errors import KarnError
from esper_karn.web.answers import answer_frame
from esper_karn.web.library import Library
from esper_karn.web.open_runs import PROGRESS, OpenRun, OpenRuns
from esper_karn.web.requests import FrameRequest, frame_request

POLL = 0.05
"""Seconds between two looks at a log for news: at most 20 frames a second."""

HEARTBEAT = 2.0
"""Seconds after which a request is answered although nothing is new.

A trainer that died writes no event: this is how a browser learns of it.
"""


class FrameSocket:
    """One browser that looks at runs.

    The browser asks for a frame, draws it, and asks again. A request that comes before the answer
    to the last one replaces it, for example because another view was opened. Nothing is kept of a
    browser but its latest request.
    """

    def __init__(self, socket: WebSocket, library: Library, runs: OpenRuns) -> None:
        self._socket = socket
        self._library = library
        self._runs = runs
        self._request: str | None = None
        self._asked = asyncio.Event()
        self._answered = -PROGRESS

    async def serve(self) -> None:
        """Answers until the browser leaves; an unexpected error closes the socket."""
        await self._socket.accept()
        tasks = [asyncio.create_task(self._receive_all()), asyncio.create_task(self._answer_all())]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            with suppress(WebSocketDisconnect):
                task.result()

    async def _receive_all(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            self._request = message.get("text") or ""
            self._asked.set()

    async def _answer_all(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                answer = await self._answer(frame_request(self._request or ""))
            except KarnError as error:
                await self._socket.send_json({"error": str(error)})
                continue
            if answer is not None:
                await self._socket.send_text(answer.decode())

    async def _answer(self, request: FrameRequest) -> bytes | None:
        """Returns the next frame with news; ``None`` if another request came first."""
        directory = await run_in_threadpool(self._library.find, request.run)
        run = await run_in_threadpool(self._runs.get, directory)
        if not await self._news(run, request):
            return None
        answer = await run_in_threadpool(answer_frame, run, request)
        self._answered = time.monotonic()
        return answer

    async def _news(self, run: OpenRun, request: FrameRequest) -> bool:
        """Waits until there is something to answer; false if another request came first."""
        until = time.monotonic() + HEARTBEAT
        while not self._asked.is_set():
            await run_in_threadpool(run.advance)
            now = time.monotonic()
            if run.share < 1.0:
                if now >= self._answered + PROGRESS:
                    return True
            elif run.has_news(request) or now > until:
                return True
            else:
                await asyncio.sleep(POLL)
        return False
