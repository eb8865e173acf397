"""Splits a log into lines of bounded length."""

from __future__ import annotations

from esper_leyline.run_files import MAX_LINE


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

    @property
    def pending_bytes(self) -> int:
        """Length of the unfinished line."""
        return self._length

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
