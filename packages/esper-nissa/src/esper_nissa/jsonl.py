"""The durable log: one JSON line an event, appended to a file."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from esper_leyline.events import Event
from esper_nissa.errors import NissaError, os_reason

FLUSH_INTERVAL = 0.25
"""Seconds after which buffered events are written even while more keep coming."""

DURABLE_KINDS = frozenset(
    {
        "run_started",
        "run_resumed",
        "run_completed",
        "run_failed",
        "checkpoint_saved",
        "checkpoint_loaded",
        "round_completed",
    }
)
"""Kinds after which the file is forced to disk, so that a power cut keeps them."""


class JsonlSink:
    """Appends events to a file, one JSON object a line.

    Lines are handed to the operating system whenever the hub's queue is empty, at least
    every ``FLUSH_INTERVAL`` seconds under load, and forced to disk after the events that
    a reader of a crashed run needs most.

    Nothing already in the file is ever removed: if a killed writer left a last line
    without an end, the line is ended first. Readers report it as malformed where it is
    torn, and a reader that follows the file never sees it shrink.

    Args:
        path: The log; created with its missing parent folders.

    Raises:
        NissaError: If the file cannot be opened or read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[bytes] = []
        self._flushed = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered, because the lines are collected here and written in one call.
            self._file = path.open("ab", buffering=0)
            self._regular = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
            if self._regular and not _ends_whole(path):
                self._write(b"\n")
        except OSError as error:
            raise self._failure(error) from error

    def emit(self, event: Event) -> None:
        """Appends one event.

        Raises:
            NissaError: If the file cannot be written, for example because the disk is full.
        """
        self._lines.append(event.model_dump_json().encode())
        if event.kind in DURABLE_KINDS:
            self._flush(durable=True)
        elif time.monotonic() - self._flushed >= FLUSH_INTERVAL:
            self._flush()

    def flush(self) -> None:
        """Hands buffered lines to the operating system.

        Raises:
            NissaError: If the file cannot be written.
        """
        self._flush()

    def close(self) -> None:
        """Forces everything to disk and closes the file; further calls do nothing.

        Raises:
            NissaError: If the file cannot be written.
        """
        if self._file.closed:
            return
        self._flush(durable=True)
        self._file.close()

    def _flush(self, *, durable: bool = False) -> None:
        self._flushed = time.monotonic()
        lines, self._lines = self._lines, []
        try:
            if lines:
                self._write(b"\n".join(lines) + b"\n")
            if durable and self._regular:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._file.close()
            raise self._failure(error) from error

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def _failure(self, error: OSError) -> NissaError:
        return NissaError(
            f"cannot write event log '{self._path}': {os_reason(error)}; "
            "free space there or choose another place"
        )


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
