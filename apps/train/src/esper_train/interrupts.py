"""Ctrl-C and a polite kill: finish the step in hand, keep everything, then stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class StopRequest:
    """Turns the first SIGINT or SIGTERM into a request that the run looks up between steps.

    A second one raises ``KeyboardInterrupt`` at once. From then on, and once the run is
    ending, further ones change nothing: an end takes seconds, and half of one is worse.
    Used as a context manager in the main thread.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._previous: dict[int, object] = {}
        self.signal: int | None = None
        self._ending = False
        self._held_back = False
        self._waiting = False

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

    def ask(self) -> None:
        """Asks for a stop, as the first signal does."""
        self._event.set()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Lets a second signal wait until what is being done is done."""
        self._held_back = True
        try:
            yield
        finally:
            self._held_back = False
            if self._waiting:
                self._insist()

    def let_end(self) -> None:
        """Ignores signals from now on."""
        self._ending = True

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @property
    def exit_code(self) -> int:
        """The code that shells expect of a process that ended for this signal."""
        return 128 + (self.signal or signal.SIGINT)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._ending:
            return
        if not self._event.is_set():
            self.signal = number
            self._event.set()
        elif self._held_back:
            self._waiting = True
        else:
            self._insist()

    def _insist(self) -> None:
        self._ending = True
        raise KeyboardInterrupt
