"""Reads the part of a log that is new, as lines that a database can take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from esper_karn.log.lines import LineSplitter
from esper_karn.log.mark import LogMark, digest_ends, mark_of
from esper_karn.log.reader import CHUNK, unreadable
from esper_leyline import LeylineError, open_regular

_CONTROL = re.compile(r"[\x00-\x1f]")


@dataclass(slots=True)
class LogPart:
    """The lines of a log after those that were read before.

    Args:
        log: The log.
        known: How far it was read before; ``None`` to read all of it.

    Attributes:
        continued: Whether it goes on after ``known``, not from the start.
        mark: How far it was read; complete after the last line.
        rejected: Number of lines so far that cannot be an event.

    Raises:
        KarnError: If the log cannot be read.
    """

    log: Path
    known: LogMark | None
    continued: bool = False
    mark: LogMark | None = None
    rejected: int = 0

    def lines(self) -> Iterator[bytes | None]:
        """Yields each complete new line; ``None`` for one that cannot be an event.

        Raises:
            KarnError: If the log cannot be read.
        """
        mark = mark_of(self.log)
        if mark is None:
            return
        try:
            with open_regular(self.log) as file:
                yield from self._lines(file, mark)
        except (OSError, LeylineError) as error:
            raise unreadable(self.log, error) from error

    def _lines(self, file: BinaryIO, mark: LogMark) -> Iterator[bytes | None]:
        known = self.known
        self.continued = known is not None and known.is_start_of(file, mark)
        start = known.offset if known is not None and self.continued else 0
        file.seek(start)
        splitter = LineSplitter()
        while data := file.read(CHUNK):
            for line in splitter.feed(data):
                clean = readable(line)
                self.rejected += clean is None
                yield clean
        offset = file.tell() - splitter.pending_bytes
        self.mark = mark.model_copy(update={"offset": offset, "digest": digest_ends(file, offset)})


def readable(line: bytes | None) -> bytes | None:
    """Returns a line that may be JSON, without a carriage return; ``None`` for any other."""
    if line is None or not line.startswith(b"{"):
        return None
    line = line.rstrip(b"\r")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None
    # JSON has control characters only between its parts, and Esper writes none there.
    return line if text.isprintable() or not _CONTROL.search(text) else None
