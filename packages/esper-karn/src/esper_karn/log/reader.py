"""Reads the events of a run's log, also while it is being written."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from esper_karn.errors import KarnError, first_problem
from esper_karn.formatting import pluralize
from esper_karn.log.lines import LineSplitter
from esper_leyline import LeylineError, events, open_regular
from esper_leyline.events import Event, EventVersionError
from esper_leyline.files.paths import os_reason
from esper_leyline.run_files import MAX_LINE

CHUNK = 1 << 20
"""Bytes read at a time."""

PROBLEMS_KEPT = 100
"""Problems that a reader keeps with their reasons; it counts all of them."""

TOO_LONG = f"it is longer than {MAX_LINE >> 20} MiB"
"""Why a line over the limit is skipped."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A line of a log that could not be read.

    Attributes:
        line: Its number, from 1, in the file at that time.
        reason: Why it could not be read.
    """

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPosition:
    """How far a log was read: ``line`` complete lines, which end before byte ``offset``."""

    offset: int = 0
    line: int = 0


class EventReader:
    """Reads the events of a log, and those that are added later.

    An unfinished last line is kept until it is complete. A complete line that is no
    event, or is longer than ``MAX_LINE``, is skipped and recorded in ``problems``. A
    file that was truncated or replaced is read again from its start; its events have the
    same sequence numbers, and the reducer ignores those that it has seen. A line that does not
    name the run belongs to the run and the comparison that a line before it names. A file that was
    truncated and outgrew its old length between two reads looks like one that only grew.

    Args:
        path: The log; it need not exist yet.
        kinds: Only events of these kinds, ``None`` for all. Other lines are skipped without
            being parsed if they look like an event.
        start: Where reading begins; a log that was replaced is read from its start.
    """

    def __init__(
        self,
        path: Path,
        *,
        kinds: frozenset[str] | None = None,
        start: ReadPosition | None = None,
    ) -> None:
        self._path = path
        self._kinds = kinds
        # A line that names the run is read whatever its kind.
        names = b"|".join([b'"run_id":', *(kind.encode() for kind in sorted(kinds or ()))])
        self._wanted = re.compile(names) if kinds is not None else None
        self._run_id: str | None = None
        self._group: str | None = None
        self._file: BinaryIO | None = None
        self._splitter = LineSplitter()
        self._lines: deque[bytes | None] = deque()
        self._line = 0
        self._next = start or ReadPosition()
        self._problems: list[Problem] = []
        self.problem_count = 0
        self.restarts = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The first problems, at most ``PROBLEMS_KEPT``; ``problem_count`` counts all."""
        return tuple(self._problems)

    @property
    def torn(self) -> bool:
        """Whether the part of the log read so far ends in an unfinished line."""
        return self._splitter.pending

    @property
    def line_count(self) -> int:
        """Complete lines read from the current file so far."""
        return self._line

    @property
    def position(self) -> ReadPosition | None:
        """Where the line after the latest event begins; ``None`` where that is not known.

        It is not known while a line that was too long waits to be read.
        """
        waiting = [len(line) + 1 for line in self._lines if line is not None]
        if self._file is None:
            return self._next
        if len(waiting) < len(self._lines):
            return None
        offset = self._file.tell() - self._splitter.pending_bytes - sum(waiting)
        return ReadPosition(offset=offset, line=self._line)

    def read(self) -> Iterator[Event]:
        """Yields the events completed since the last call, then stops.

        Raises:
            KarnError: If the log cannot be read, or has another schema version.
        """
        while True:
            while self._lines:
                event = self._parse(self._lines.popleft())
                if event is not None and (self._kinds is None or event.kind in self._kinds):
                    yield event
            if not self._fill():
                return

    def close(self) -> None:
        """Closes the file; a later ``read`` starts again from the beginning."""
        if self._file is not None:
            self._file.close()
        self._splitter.clear()
        self._start(None)

    def __enter__(self) -> EventReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self) -> bool:
        """Reads the next lines; returns whether there were new bytes."""
        try:
            if self._file is None:
                self._file = open_regular(self._path)
                self._file.seek(self._next.offset)
                self._line = self._next.line
            return self._take(self._file) or self._restarted(self._file)
        except FileNotFoundError:
            return False
        except (OSError, LeylineError) as error:
            raise unreadable(self._path, error) from error

    def _take(self, file: BinaryIO) -> bool:
        data = file.read(CHUNK)
        self._lines.extend(self._splitter.feed(data))
        return bool(data)

    def _restarted(self, file: BinaryIO) -> bool:
        """Starts again if the file at the path is another one, or is shorter than what was read."""
        now = self._path.stat()
        if not os.path.samestat(now, os.fstat(file.fileno())):
            # Lines may have been added between the last read and the replacement.
            if self._take(file):
                return True
            new = open_regular(self._path)
            file.close()
            self._start(new)
            self._run_id = self._group = None
        elif now.st_size < file.tell():
            file.seek(0)
            self._start(file)
        else:
            return False
        self.restarts += 1
        return True

    def _start(self, file: BinaryIO | None) -> None:
        if self._splitter.pending:
            self._record(self._line + 1, "unfinished when the file was replaced or truncated")
        self._splitter.clear()
        self._file, self._line, self._next = file, 0, ReadPosition()

    def _parse(self, line: bytes | None) -> Event | None:
        self._line += 1
        if line is None:
            self._record(self._line, TOO_LONG)
            return None
        if self._wanted is not None and not self._wanted.search(line) and _looks_whole(line):
            return None
        parsed = parse_event(line, self._path, self._run_id, self._group)
        if isinstance(parsed, Event):
            self._run_id, self._group = parsed.run_id, parsed.group
            return parsed
        self._record(self._line, parsed)
        return None

    def _record(self, line: int, reason: str) -> None:
        self.problem_count += 1
        if len(self._problems) < PROBLEMS_KEPT:
            self._problems.append(Problem(line, reason))


def parse_event(
    line: bytes, log: Path, run_id: str | None = None, group: str | None = None
) -> Event | str:
    """Parses one complete line of a log.

    Args:
        line: The line.
        log: The log, for errors.
        run_id: The run, where the line does not name it.
        group: The comparison of that run, where the line names neither.

    Returns:
        The event, or the reason why the line is no event.

    Raises:
        KarnError: If the line was written for another schema version.
    """
    try:
        return events.parse_event(line, run_id, group)
    except RecursionError:
        return "it is nested too deeply"
    except ValidationError as error:
        return first_problem(error)
    except EventVersionError as error:
        raise KarnError(f"event log '{log}' {error}") from None


def unreadable(log: Path, error: OSError | LeylineError) -> KarnError:
    """Returns the error for a log that cannot be read."""
    reason = os_reason(error) if isinstance(error, OSError) else f"it {error}"
    return KarnError(f"cannot read event log '{log}': {reason}")


def problems_text(log: Path, number: int, first: Problem) -> str:
    """Describes in one line how much of a log could not be read, and why.

    Args:
        log: The log.
        number: Number of lines that could not be read.
        first: The first one.
    """
    lines = pluralize(number, "line")
    return f"{lines} of the log could not be read; line {first.line} of '{log}': {first.reason}"


def _looks_whole(line: bytes) -> bool:
    return line.startswith(b"{") and line.endswith(b"}") and b'"kind":"' in line
