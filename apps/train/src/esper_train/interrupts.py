"""Stopping signals: finish the current step, save everything, then stop."""

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
"""Signals that stop a run cleanly: from keys, closed terminals and cluster schedulers."""


class StopRequest:
    """Turns the first stopping signal into a request that the run checks between steps.

    A second signal raises ``KeyboardInterrupt``, but only inside ``breakable`` and never inside
    ``defer_signals``; elsewhere it is raised at the next ``breakable``. It is raised once;
    further signals are ignored. A hang-up signal that the caller ignores (``nohup``) stays
    ignored. Used as a context manager in the main thread.

    Attributes:
        signal: Number of the first stopping signal; ``None`` if there was none.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._previous: dict[int, object] = {}
        self.signal: int | None = None
        self._ignoring = False
        self._breakable = False
        self._deferred = False
        self._pending = False

    def __call__(self) -> bool:
        """Whether a stop was requested."""
        return self._event.is_set()

    def request(self) -> None:
        """Requests a stop, as the first signal does."""
        self._event.set()

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Lets a second signal raise ``KeyboardInterrupt`` in the block.

        Raises:
            KeyboardInterrupt: If a second signal has come, before the block or in it.
        """
        self._breakable = True
        try:
            if self._pending:
                self._interrupt()
            yield
        finally:
            self._breakable = False

    @contextmanager
    def defer_signals(self) -> Iterator[None]:
        """Completes the block despite signals; the run then stops at its next check."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def ignore_signals(self) -> None:
        """Ignores signals from now on."""
        self._ignoring = True

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
        if self._ignoring:
            return
        if not self._event.is_set():
            self.signal = number
            self._event.set()
        elif self._breakable and not self._deferred:
            self._interrupt()
        else:
            self._pending = True

    def _interrupt(self) -> None:
        self._ignoring = True
        raise KeyboardInterrupt


def ignore_signals() -> None:
    """Ignores every stopping signal in this process from now on."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
