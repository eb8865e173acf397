"""Reads only the two ends of a log, for lists of many runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from esper_karn.errors import KarnError, os_reason
from esper_karn.reader import parse_event
from esper_leyline.events import Event

HEAD_BYTES = 1 << 16
"""How much of a log's start is looked at."""

TAIL_BYTES = 1 << 18
"""How much of a log's end is looked at."""


def first_event(log: Path) -> Event | None:
    """Returns the first event of a log, ``None`` if it starts with none.

    Raises:
        KarnError: If the log cannot be read or has another schema version.
    """
    line, newline, _ = _read(log, 0, HEAD_BYTES).partition(b"\n")
    return _event(log, line) if newline else None


def last_events(log: Path, kinds: frozenset[str] | None = None) -> Iterator[Event]:
    """Yields the events near the end of a log, the last one first; skips torn lines.

    Args:
        log: The log; there are no events in a missing one.
        kinds: Only these kinds, ``None`` for all; other lines are not parsed.

    Raises:
        KarnError: If the log cannot be read or has another schema version.
    """
    size = log.stat().st_size if log.exists() else 0
    start = max(0, size - TAIL_BYTES)
    lines = _read(log, start, TAIL_BYTES).split(b"\n")
    # The last piece is unfinished or empty; the first one may be the end of a line.
    for line in reversed(lines[1 if start else 0 : -1]):
        if kinds is not None and not any(kind.encode() in line for kind in kinds):
            continue
        event = _event(log, line)
        if event is not None and (kinds is None or event.kind in kinds):
            yield event


def _read(log: Path, start: int, length: int) -> bytes:
    try:
        with log.open("rb") as file:
            file.seek(start, os.SEEK_SET)
            return file.read(length)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise KarnError(f"cannot read event log '{log}': {os_reason(error)}") from error


def _event(log: Path, line: bytes) -> Event | None:
    parsed = parse_event(line, log)
    return parsed if isinstance(parsed, Event) else None
