"""Reads only the start and the end of a log, for lists of many runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from esper_karn.log.reader import TOO_LONG, parse_event, unreadable
from esper_leyline import LeylineError, open_regular
from esper_leyline.events import Event
from esper_leyline.run_files import MAX_LINE, lines_backwards

HEAD_BYTES = 1 << 16
"""Bytes read from the start of a log."""

TAIL_BYTES = 1 << 18
"""Bytes read from the end of a log."""

NO_LINE = f"it is unfinished, or {TOO_LONG}"
"""Why there is no event at the end of a log without a complete line."""


def first_event(log: Path) -> Event | None:
    """Returns the first event of a log, ``None`` if its first line is no event.

    Raises:
        KarnError: If the log cannot be read or has another schema version.
    """
    try:
        with open_regular(log) as file:
            line, newline, _ = file.read(HEAD_BYTES).partition(b"\n")
    except FileNotFoundError:
        return None
    except (OSError, LeylineError) as error:
        raise unreadable(log, error) from error
    return _event(log, line) if newline else None


class LogTail:
    """The complete lines near the end of a log, read once.

    Their events seldom name the run: that is in the first line of each process.

    Args:
        log: The log; a missing one has no lines.

    Attributes:
        empty: Whether the log is empty.

    Raises:
        KarnError: If the log cannot be read.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._lines: list[bytes | None] = []
        size, self._lines = _last_lines(log, TAIL_BYTES)
        if not self._lines and size > TAIL_BYTES:
            # The last line is longer than usual; one over the limit is not found either.
            size, self._lines = _last_lines(log, MAX_LINE + TAIL_BYTES)
        self.empty = size == 0

    def events(self, kinds: frozenset[str] | None = None) -> Iterator[Event]:
        """Yields the events, the last one first; skips lines that are no event.

        Args:
            kinds: Only these kinds, ``None`` for all; other lines are not parsed.

        Raises:
            KarnError: If a line was written for another schema version.
        """
        names = [kind.encode() for kind in kinds or ()]
        for line in self._lines:
            if line is None or (names and not any(name in line for name in names)):
                continue
            event = _event(self._log, line)
            if event is not None and (kinds is None or event.kind in kinds):
                yield event

    def last_problem(self) -> str | None:
        """Returns why the last complete line is no event, ``None`` if it is one.

        Raises:
            KarnError: If it was written for another schema version.
        """
        if not self._lines:
            return None if self.empty else NO_LINE
        if self._lines[0] is None:
            return TOO_LONG
        parsed = parse_event(self._lines[0], self._log)
        return None if isinstance(parsed, Event) else parsed


def _last_lines(log: Path, length: int) -> tuple[int, list[bytes | None]]:
    """Returns a log's size, and the lines within its last ``length`` bytes, the last one first."""
    try:
        with open_regular(log) as file:
            lines = list(lines_backwards(file, unfinished=False, within=length))
            return file.seek(0, os.SEEK_END), lines
    except FileNotFoundError:
        return 0, []
    except (OSError, LeylineError) as error:
        raise unreadable(log, error) from error


def _event(log: Path, line: bytes) -> Event | None:
    parsed = parse_event(line, log)
    return parsed if isinstance(parsed, Event) else None
