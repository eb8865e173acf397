"""A thread that writes the vitals of the machine to a run's log."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import TracebackType

from esper_leyline.ports import Telemetry
from esper_nissa.vitals.machine import Machine

INTERVAL = 5.0
"""Seconds between two measurements."""

FIRST_INTERVAL = 1.0
"""Seconds between the first two measurements: the use of the CPU needs two, also in a short run."""

MOST_WAITING = 2.0
"""Seconds to wait for a measurement that is under way when the thread is ended."""


class VitalsThread:
    """Emits ``vitals`` from a daemon thread: at once, after a second, then every ``interval``.

    The thread takes no signal, so the main thread's handlers run without delay. Use it as a
    context manager inside that of the hub: leaving it ends the thread.

    Args:
        telemetry: Where the events go.
        folder: A folder on the disk that is measured.
        interval: Seconds between two measurements.
    """

    def __init__(self, telemetry: Telemetry, folder: Path, interval: float = INTERVAL) -> None:
        self._telemetry = telemetry
        self._folder = folder
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="esper-nissa-vitals", daemon=True)

    def __enter__(self) -> VitalsThread:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the thread."""
        # A new thread inherits the mask; it must never take a signal meant for the main thread.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def stop(self) -> None:
        """Ends the thread; a measurement that is under way is not written."""
        self._stop.set()
        if self._thread.ident is not None:
            # A driver that hangs must not keep the run from ending.
            self._thread.join(MOST_WAITING)

    def _run(self) -> None:
        machine = Machine(self._folder)
        interval = min(FIRST_INTERVAL, self._interval)
        while True:
            vitals = machine.read()
            if self._stop.is_set():
                return
            self._telemetry.emit(vitals)
            if self._stop.wait(interval):
                return
            interval = self._interval
