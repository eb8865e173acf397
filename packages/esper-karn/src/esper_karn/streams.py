"""Standard streams that may go away: a closed pipe, a closed terminal, none from the start."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO


def guard_streams() -> None:
    """Discards output whose reader is gone, instead of raising.

    Call it first in a program: where a standard stream is closed (``>&-``), the next file
    that the program opens would otherwise take its number, and children would write to it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by the interpreter's own end.
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        if not isinstance(stream, GuardedStream):
            setattr(sys, name, GuardedStream(stream))


class GuardedStream:
    """A text stream that turns into the null device when its reader is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's own."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text, or discards it."""
        try:
            return self._stream.write(text)
        except OSError:
            self._discard()
            return len(text)

    def flush(self) -> None:
        """Flushes the stream, or discards what it holds."""
        try:
            self._stream.flush()
        except OSError:
            self._discard()

    def isatty(self) -> bool:
        """Whether it is a terminal that is still there."""
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False

    def _discard(self) -> None:
        # The descriptor itself, so that the interpreter's last flush does not fail either.
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, self._stream.fileno())
        finally:
            os.close(null)
