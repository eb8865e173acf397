"""Standard streams that may be closed: a closed pipe, a closed terminal, or none at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import Any, TextIO

from esper_leyline import printable
from esper_leyline.files.paths import os_reason

_GONE = frozenset({errno.EPIPE, errno.EBADF, errno.ENXIO})
"""Errors of a stream that has no reader any more."""


def guard_streams() -> None:
    """Discards output to closed streams, instead of raising an error.

    Call it first in a program: if a standard stream is closed (``>&-``), the next file that
    the program opens would otherwise get its descriptor, and child processes would write to
    it. Characters that the stream's encoding lacks are escaped; on standard error, characters
    that are not visible are escaped too, for example escape sequences in a traceback.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor: this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # The interpreter found it closed.
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        if not isinstance(stream, GuardedStream):
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, GuardedStream(stream, escape=name == "stderr"))


def output_failure() -> str | None:
    """Flushes standard output, and returns why some of it could not be written.

    Returns:
        The reason, for example ``No space left on device``; ``None`` if all was written, or
        if the reader closed it, as ``head`` does.
    """
    stream = sys.stdout
    stream.flush()
    return stream.failure if isinstance(stream, GuardedStream) else None


class GuardedStream:
    """A text stream that becomes the null device when it cannot be written to.

    Args:
        stream: The stream itself.
        escape: Whether to escape characters that are not visible, except line breaks: for
            a stream without colours, to which libraries and the interpreter print.

    Attributes:
        failure: Why it cannot be written to; ``None`` if it can, or if its reader closed it.
    """

    def __init__(self, stream: TextIO, *, escape: bool = False) -> None:
        self._stream = stream
        self._escape = escape
        self.failure: str | None = None

    def __getattr__(self, name: str) -> Any:
        """Returns an attribute of the stream itself."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text, or discards it if that fails."""
        if self._escape:
            text = "\n".join(map(printable, text.split("\n")))
        try:
            return self._stream.write(text)
        except OSError as error:
            self._discard(error)
            return len(text)

    def flush(self) -> None:
        """Flushes the stream, or discards its buffer if that fails."""
        try:
            self._stream.flush()
        except OSError as error:
            self._discard(error)

    def isatty(self) -> bool:
        """Whether it is a terminal that is still open."""
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False

    def _discard(self, error: OSError) -> None:
        if not self._is_gone(error):
            self.failure = os_reason(error)
        # Replace the descriptor itself, so that the interpreter's last flush succeeds too.
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, self._stream.fileno())
        finally:
            os.close(null)

    def _is_gone(self, error: OSError) -> bool:
        if error.errno in _GONE:
            return True
        # A closed terminal reports EIO, like a broken disk.
        is_device = stat.S_ISCHR(os.fstat(self._stream.fileno()).st_mode)
        return error.errno == errno.EIO and is_device
