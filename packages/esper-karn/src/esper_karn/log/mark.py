"""Tells whether a log still begins with what was read of it before."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from esper_karn.log.reader import unreadable
from esper_leyline.wire import Contract

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

    def is_start_of(self, file: BinaryIO, now: LogMark) -> bool:
        """Whether a log still begins with what was read.

        Args:
            file: The log.
            now: The mark of the log as it is now.
        """
        return (
            (self.device, self.inode) == (now.device, now.inode)
            and self.offset <= now.size
            and self.digest == digest_ends(file, self.offset)
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


def digest_ends(file: BinaryIO, offset: int) -> str:
    """Returns a digest of both ends of the first ``offset`` bytes of a file."""
    found = hashlib.sha256()
    file.seek(0)
    found.update(file.read(min(_EDGE, offset)))
    file.seek(max(0, offset - _EDGE))
    found.update(file.read(min(_EDGE, offset)))
    return found.hexdigest()
