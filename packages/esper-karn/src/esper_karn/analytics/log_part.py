"""Reads the part of a log that is new, as lines that a database can take."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from esper_karn.log.lines import LineSplitter
from esper_karn.log.reader import CHUNK, unreadable
from esper_leyline import LeylineError, open_regular
from esper_leyline.wire import Contract

_CONTROL = re.compile(r"[\x00-\x1f]")
_EDGE = 4096
"""Bytes at the start and before the end of what was read that tell one log from another."""


class LogMark(Contract):
    """Which log was read, and how far.

    Attributes:
        device: With ``inode`` the file itself.
        size: Of the whole file before it was read, in bytes.
        modified: Time of its last change before it was read, in nanoseconds.
        offset: Where the first line begins that was not read.
        digest: Of the bytes at both ends of what was read.
    """

    device: int
    inode: int
    size: int
    modified: int
    offset: int = 0
    digest: str = ""

    def is_current(self, log: Path) -> bool:
        """Whether the log is as it was before it was read.

        Raises:
            KarnError: If it cannot be looked at.
        """
        now = mark_of(log)
        return now is not None and (now.device, now.inode, now.size, now.modified) == (
            *(self.device, self.inode, self.size, self.modified),
        )


def mark_of(log: Path) -> LogMark | None:
    """Returns the mark of a log of which nothing was read, ``None`` if there is none.

    Raises:
        KarnError: If it cannot be looked at.
    """
    try:
        stat = log.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(log, error) from error
    return LogMark(
        device=stat.st_dev, inode=stat.st_ino, size=stat.st_size, modified=stat.st_mtime_ns
    )


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
        self.continued = known is not None and (
            (known.device, known.inode) == (mark.device, mark.inode)
            and known.offset <= mark.size
            and known.digest == _digest(file, known.offset)
        )
        start = known.offset if known is not None and self.continued else 0
        file.seek(start)
        splitter = LineSplitter()
        while data := file.read(CHUNK):
            for line in splitter.feed(data):
                clean = readable(line)
                self.rejected += clean is None
                yield clean
        offset = file.tell() - splitter.pending_bytes
        self.mark = mark.model_copy(update={"offset": offset, "digest": _digest(file, offset)})


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


def _digest(file: BinaryIO, offset: int) -> str:
    found = hashlib.sha256()
    file.seek(0)
    found.update(file.read(min(_EDGE, offset)))
    file.seek(max(0, offset - _EDGE))
    found.update(file.read(min(_EDGE, offset)))
    return found.hexdigest()
