"""Standard streams that may go away: a closed pipe, a closed terminal, none from the start."""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import Any, TextIO

from esper_leyline import printable

_GONE = frozenset({errno.EPIPE, errno.EBADF, errno.ENXIO})
"""Errors of a stream whose reader is gone."""


def guard_streams() -> None:
    """Discards output whose reader is gone, instead of raising.

    Call it first in a program: where a standard stream is closed (``>&-``), the next file
    that the program opens would otherwise take its number, and children would write to it.
    Characters that the stream's encoding lacks are escaped; on standard error, so are those
    that are not visible, such as escape sequences in a traceback.
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
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, GuardedStream(stream, escape=name == "stderr"))


def output_failure() -> str | None:
    """Flushes standard output, and returns why a part of it could not be written.

    Returns:
        The reason, such as ``No space left on device``; ``None`` if all was written, or if
        the reader went away, as ``head`` does.
    """
    stream = sys.stdout
    stream.flush()
    return stream.failure if isinstance(stream, GuardedStream) else None


class GuardedStream:
    """A text stream that turns into the null device when it cannot be written to.

    Args:
        stream: The stream itself.
        escape: Whether characters that are not visible are escaped, line breaks excepted:
            for a stream without colours, to which libraries and the interpreter print.

    Attributes:
        failure: Why it could not, ``None`` where only its reader is gone.
    """

    def __init__(self, stream: TextIO, *, escape: bool = False) -> None:
        self._stream = stream
        self._escape = escape
        self.failure: str | None = None

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's own."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text, or discards it."""
        if self._escape:
            text = "\n".join(map(printable, text.split("\n")))
        try:
            return self._stream.write(text)
        except OSError as error:
            self._discard(error)
            return len(text)

    def flush(self) -> None:
        """Flushes the stream, or discards what it holds."""
        try:
            self._stream.flush()
        except OSError as error:
            self._discard(error)

    def isatty(self) -> bool:
        """Whether it is a terminal that is still there."""
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False

    def _discard(self, error: OSError) -> None:
        if not self._is_gone(error):
            self.failure = error.strerror or str(error)
        # The descriptor itself, so that the interpreter's last flush does not fail either.
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, self._stream.fileno())
        finally:
            os.close(null)

    def _is_gone(self, error: OSError) -> bool:
        if error.errno in _GONE:
            return True
        # A terminal that was closed gives the error of a broken disk.
        is_device = stat.S_ISCHR(os.fstat(self._stream.fileno()).st_mode)
        return error.errno == errno.EIO and is_device
