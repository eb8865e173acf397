"""Stopping signals: finish the step, keep everything, then stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

STOPPING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)
"""Signals that end a run in order: keys, closed terminals, and the schedulers of clusters."""


class StopRequest:
    """Turns the first stopping signal into a request that the run checks between steps.

    A second one raises ``KeyboardInterrupt``, but only inside ``breakable``, and never inside
    ``held_back``; outside, it is remembered until the next ``breakable``. It is raised once:
    further signals change nothing. A hang-up that the caller ignores (``nohup``) stays
    ignored. Used as a context manager in the main thread.

    Attributes:
        signal: Number of the signal that asked for the stop; ``None`` if none did.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._previous: dict[int, object] = {}
        self.signal: int | None = None
        self._ending = False
        self._breakable = False
        self._held_back = False
        self._waiting = False

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

    def ask(self) -> None:
        """Asks for a stop, as the first signal does."""
        self._event.set()

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Lets a second signal raise ``KeyboardInterrupt`` in the block.

        Raises:
            KeyboardInterrupt: If a second signal has come, before the block or in it.
        """
        self._breakable = True
        try:
            if self._waiting:
                self._break_off()
            yield
        finally:
            self._breakable = False

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Completes the block whatever signals come; the run then stops at its next check."""
        self._held_back = True
        try:
            yield
        finally:
            self._held_back = False

    def let_end(self) -> None:
        """Ignores signals from now on."""
        self._ending = True

    def __enter__(self) -> StopRequest:
        for number in STOPPING:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]

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
        elif self._breakable and not self._held_back:
            self._break_off()
        else:
            self._waiting = True

    def _break_off(self) -> None:
        self._ending = True
        raise KeyboardInterrupt


def ignore_signals() -> None:
    """Ignores every stopping signal in this process from now on."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
