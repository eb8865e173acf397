"""The durable log: one line of JSON per event, appended to a file."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from pathlib import Path

from esper_leyline.events import Event, encode_event
from esper_leyline.files.paths import os_reason
from esper_nissa.errors import LogError, NissaError
from esper_nissa.run_lock import NO_LOCKS
from esper_nissa.sinks.written_events import WrittenEvents

FLUSH_INTERVAL = 0.25
"""Seconds after which buffered events are written while more arrive."""

CHECK_INTERVAL = 1.0
"""Seconds between two checks that the file still exists."""

_BLOCK = 1 << 20

_OUT_OF_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

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
"""Kinds after which the file is synced to disk, so that they survive a power cut."""


class JsonlSink:
    """Appends events to a file, one JSON object a line.

    Lines are written whenever the hub's queue is empty, at least every ``FLUSH_INTERVAL``
    seconds under load, and synced to disk after the events of ``DURABLE_KINDS``. Only the first
    line of each process names the run and its comparison.

    Nothing is ever removed from the file: if a killed writer left an unfinished last line,
    a newline is added first. Readers report that line as malformed, and a reader that
    follows the file never sees it shrink.

    The file is locked (``flock``) while the sink is open, so that two runs never write one
    log. If another process truncates it nevertheless, the sink reports the missing events
    and keeps writing.

    Args:
        path: The log; created with its missing parent folders.
        new: Whether the log must be empty.

    Raises:
        NissaError: If the file cannot be opened or read, if another process writes it, or
            if it must be empty and is not.
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        self._path = path
        self._lines: list[bytes] = []
        self._first_line: int | None = None
        self._named = False
        self._written = WrittenEvents()
        self._unchecked = False
        self._start = self._size = 0
        self._flushed = self._checked = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered, because the lines are collected here and written in one call.
            self._file = open(path, "a+b", buffering=0, opener=_open_without_waiting)  # noqa: SIM115
        except OSError as error:
            raise self._failure(error) from error
        try:
            self._identity = os.fstat(self._file.fileno())
            self._regular = stat.S_ISREG(self._identity.st_mode)
            if self._regular:
                self._claim(new=new)
        except OSError as error:
            self._file.close()
            raise self._failure(error) from error

    def emit(self, event: Event) -> None:
        """Appends one event.

        Raises:
            LogError: If the file cannot be written, for example because the disk is full,
                or if events are missing from it.
        """
        if self._first_line is None:
            self._first_line = event.sequence
        self._lines.append(encode_event(event, name_run=not self._named))
        self._named = True
        if event.kind in DURABLE_KINDS:
            self._flush(durable=True)
        elif time.monotonic() - self._flushed >= FLUSH_INTERVAL:
            self._flush()

    def flush(self) -> None:
        """Writes the buffered lines.

        Raises:
            LogError: As ``emit`` does.
        """
        self._flush()

    def close(self) -> None:
        """Syncs the file to disk and closes it; further calls do nothing.

        Raises:
            LogError: As ``emit`` does.
        """
        if self._file.closed:
            return
        try:
            self._flush(durable=True)
        finally:
            self._file.close()

    def _claim(self, *, new: bool) -> None:
        """Locks the file, and ends an unfinished last line of a killed writer."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise NissaError(
                f"event log '{self._path}' is being written by another run; name another file"
            ) from None
        except OSError as error:
            # Some network file systems have no locks; the log works there without one.
            if error.errno not in NO_LOCKS:
                raise
        self._start = self._size = os.fstat(self._file.fileno()).st_size
        if new and self._size > 0:
            self._file.close()
            raise NissaError(
                f"event log '{self._path}' already holds something; name a new file or remove it"
            )
        self._end_line()

    def _flush(self, *, durable: bool = False) -> None:
        self._flushed = time.monotonic()
        lines, self._lines = self._lines, []
        first, self._first_line = self._first_line, None
        try:
            missing = self._find_truncation()
            if lines:
                self._write(b"\n".join(lines) + b"\n")
            if durable and self._regular:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._file.close()
            raise self._failure(error, first_lost=first) from error
        if first is not None:
            self._written.add(first, len(lines))
        if missing is not None:
            raise missing
        if durable or self._flushed - self._checked >= CHECK_INTERVAL:
            self._check_there()

    def _find_truncation(self) -> LogError | None:
        """Detects that the file was truncated, and ends a line that was truncated with it."""
        size = os.fstat(self._file.fileno()).st_size if self._regular else self._size
        if size >= self._size:
            self._size = size
            return None
        before, self._size = self._size, size
        self._start = min(self._start, size)
        self._named = False  # the line that named the run may be gone
        lost = self._written.keep(self._count_lines())
        self._end_line()
        first, count = (None, 0) if lost is None else lost
        which = "no event is" if count == 0 else f"{count:,} events from number {first} on are"
        return LogError(
            f"event log '{self._path}' was truncated from {before} to {size} bytes while the run "
            f"wrote it; {which} lost, and later events are written",
            first_lost=first,
            events=count,
        )

    def _check_there(self) -> None:
        """Detects that the file was removed or replaced, which no write reports."""
        self._checked = self._flushed
        try:
            there = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            there = None
        except OSError as error:
            self._report_unchecked(error)
            return
        if there is None or not os.path.samestat(there, self._identity):
            self._file.close()
            what = "removed" if there is None else "replaced"
            raise LogError(
                f"event log '{self._path}' was {what} while the run wrote it; its events are lost",
                first_lost=self._written.first,
            )

    def _report_unchecked(self, error: OSError) -> None:
        """Reports once that the log cannot be checked; it is still written."""
        if self._unchecked:
            return
        self._unchecked = True
        raise LogError(
            f"cannot check whether event log '{self._path}' still exists: {os_reason(error)}; "
            "it is still written",
            events=0,
        ) from error

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = self._file.write(rest)
            self._size += written
            rest = rest[written:]

    def _end_line(self) -> None:
        """Adds a newline if the last line is unfinished."""
        size = self._size
        if size > 0 and os.pread(self._file.fileno(), 1, size - 1) != b"\n":
            self._write(b"\n")

    def _count_lines(self) -> int:
        """Counts the complete lines that this sink has written."""
        return sum(
            os.pread(self._file.fileno(), min(_BLOCK, self._size - start), start).count(b"\n")
            for start in range(self._start, self._size, _BLOCK)
        )

    def _failure(self, error: OSError, *, first_lost: int | None = None) -> LogError:
        free = "free space there or " if error.errno in _OUT_OF_ROOM else ""
        return LogError(
            f"cannot write event log '{self._path}': {os_reason(error)}; "
            f"{free}choose another place",
            first_lost=first_lost,
        )


def _open_without_waiting(path: str, flags: int) -> int:
    """Opens a log; refuses a named pipe, because opening and writing it may block forever."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ENXIO, "it is a named pipe")
    return descriptor
