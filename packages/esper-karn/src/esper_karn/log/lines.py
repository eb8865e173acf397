"""Opens files of a run without blocking, and splits a log into lines of bounded length."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import BinaryIO

from esper_leyline import LeylineError, open_regular
from esper_leyline.run_files import MAX_LINE


def open_file(path: Path) -> BinaryIO:
    """Opens a regular file to read its bytes.

    Everything else is refused, because reading it may block forever.

    Raises:
        OSError: If the file cannot be opened or is not a regular file.
    """
    try:
        return open_regular(path)
    except LeylineError as error:
        raise OSError(errno.EINVAL, f"it {error}") from None


def read_file(path: Path, limit: int) -> bytes:
    """Returns the content of a regular file of at most ``limit`` bytes.

    Raises:
        OSError: If it cannot be read, is not a regular file, or is larger.
    """
    with open_file(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit >> 10:,} KiB")
    return content


class LineSplitter:
    """Splits a stream of bytes into lines, in linear time and bounded memory."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._length = 0

    @property
    def pending(self) -> bool:
        """Whether the stream so far ends in an unfinished line."""
        return self._length > 0

    def feed(self, data: bytes) -> list[bytes | None]:
        """Returns the lines completed by ``data``; ``None`` for a line over the limit."""
        *complete, rest = data.split(b"\n")
        lines = [self._end(piece) for piece in complete]
        self._add(rest)
        return lines

    def clear(self) -> None:
        """Drops the unfinished line."""
        self._pieces, self._length = [], 0

    def _add(self, piece: bytes) -> None:
        if not piece:
            return
        self._length += len(piece)
        if self._length > self._limit:
            self._pieces = []
        else:
            self._pieces.append(piece)

    def _end(self, piece: bytes) -> bytes | None:
        self._add(piece)
        line = b"".join(self._pieces) if self._length <= self._limit else None
        self.clear()
        return line
