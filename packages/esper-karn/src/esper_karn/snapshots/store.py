"""The snapshots of one log, in a folder of their own below the user's cache directory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from esper_karn.log.mark import mark_of
from esper_karn.log.reader import unreadable
from esper_karn.snapshots.snapshot import (
    Snapshot,
    decode_header,
    decode_snapshot,
    encode_snapshot,
)
from esper_leyline import LeylineError, open_regular
from esper_leyline.files.atomic import write_atomically
from esper_leyline.files.paths import read_regular

CACHE_LIMIT = 512 << 20
"""Bytes that the snapshots of all runs may take; those not used for longest are removed."""

LARGEST_FILE = 32 << 20
"""Largest file that is read, in bytes."""

_ENDING = ".snapshot"


@dataclass(frozen=True, slots=True)
class SnapshotStore:
    """The snapshots of one log.

    Several processes may use it: files are written whole or not at all, a reader that loses one
    folds more events, and two that write the same one write the same state.

    Args:
        folder: Folder of the snapshots of all runs.
        log: The log.
        limit: Bytes that all of them may take.
    """

    folder: Path
    log: Path
    limit: int = CACHE_LIMIT

    @property
    def path(self) -> Path:
        """The folder of this log's snapshots."""
        digest = hashlib.sha256(os.fsencode(self.log.resolve())).hexdigest()
        return self.folder / digest[:24]

    def latest(self, until: int | None = None) -> Snapshot | None:
        """Returns the latest usable snapshot.

        Args:
            until: Its state is not later than this sequence number.

        Raises:
            KarnError: If the log cannot be read.
        """
        for sequence, path in sorted(self._files(), reverse=True):
            if until is not None and sequence > until:
                continue
            snapshot = self._read(path, sequence)
            if snapshot is not None:
                return snapshot
        return None

    def has(self, sequence: int) -> bool:
        """Whether there is a usable snapshot at an event."""
        try:
            with open_regular(self._file(sequence)) as file:
                header = decode_header(file.readline(1 << 16))
        except (OSError, LeylineError):
            return False
        now = mark_of(self.log)
        return header is not None and now is not None and header.mark.inode == now.inode

    def write(self, snapshot: Snapshot) -> None:
        """Keeps a snapshot, and removes those of any run that are not used if there are many.

        A cache that cannot be written is no error: reopening the run takes longer.
        """
        with suppress(OSError):
            self.path.mkdir(parents=True, exist_ok=True)
            path = self._file(snapshot.state.cursor.sequence)
            write_atomically(path, encode_snapshot(snapshot))
            self._evict(path)

    def _read(self, path: Path, sequence: int) -> Snapshot | None:
        """Returns a snapshot; one that is of no use is removed, and written again later."""
        try:
            snapshot = decode_snapshot(read_regular(path, LARGEST_FILE))
        except FileNotFoundError:
            return None
        except (OSError, LeylineError):
            snapshot = None
        if snapshot is None or sequence != snapshot.state.cursor.sequence:
            _remove(path)
            return None
        now = mark_of(self.log)
        if now is None:
            return None
        try:
            with open_regular(self.log) as file:
                if not snapshot.mark.is_start_of(file, now):
                    _remove(path)
                    return None
        except FileNotFoundError:
            return None
        except (OSError, LeylineError) as error:
            raise unreadable(self.log, error) from error
        with suppress(OSError):
            os.utime(path)
        return snapshot

    def _file(self, sequence: int) -> Path:
        return self.path / f"{sequence:012d}{_ENDING}"

    def _files(self) -> Iterator[tuple[int, Path]]:
        with suppress(OSError):
            for path in self.path.iterdir():
                if path.suffix == _ENDING and path.stem.isdecimal() and path.stem.isascii():
                    yield int(path.stem), path

    def _evict(self, kept: Path) -> None:
        files = []
        for path in self.folder.glob(f"*/*{_ENDING}"):
            with suppress(OSError):
                found = path.stat()
                files.append((found.st_mtime, found.st_size, path))
        excess = sum(size for _, size, _ in files) - self.limit
        for _, size, path in sorted(files):
            if excess <= 0:
                break
            if path != kept:
                _remove(path)
                excess -= size


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
