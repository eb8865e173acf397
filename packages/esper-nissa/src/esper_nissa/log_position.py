"""Where a log ends, and what it says of the processes before, so that a run can be resumed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from esper_leyline import LeylineError, open_regular
from esper_leyline.events import Event, parse_event
from esper_leyline.files.paths import os_reason
from esper_leyline.run_files import MAX_LINE, lines_backwards
from esper_nissa.errors import NissaError


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """Boot and sequence number of the next hub on a log.

    Attributes:
        boot: Number of processes that wrote the log before.
        sequence: The first free sequence number.
    """

    boot: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierWork:
    """What the processes that wrote a log before have done.

    Attributes:
        started: Unix time of the run's first event; ``None`` without one.
        seconds: How long they worked, without the breaks between them.
    """

    started: float | None = None
    seconds: float = 0.0


def next_position(log: Path, run_id: str) -> LogPosition:
    """Finds boot and sequence number for the next hub on a log, reading only its end.

    An unfinished, malformed or overlong last line does not count: its sequence number is
    used again.

    Args:
        log: The log.
        run_id: The run that it has to be of, if its first or its last line names one.

    Returns:
        Boot 0 and sequence 0 for a log that is missing or holds no event.

    Raises:
        NissaError: If the log cannot be read, is not a regular file, was written under
            another schema version, or is of another run.
    """
    with _reading(log) as file:
        last = next(_events_backwards(file), None) if file else None
        if file is None or last is None:
            return LogPosition(boot=0, sequence=0)
        named = last.run_id or _first_named(file)
    if named not in (None, run_id):
        raise NissaError(
            f"event log '{log}' is of run '{named}', not of '{run_id}'; move it "
            "away, and the run continues with a new log"
        )
    return LogPosition(boot=last.boot + 1, sequence=last.sequence + 1)


def earlier_work(log: Path) -> EarlierWork:
    """Adds up how long the processes worked that wrote a log.

    Only the first and the last event of each process are parsed.

    Raises:
        NissaError: As ``next_position``.
    """
    started, seconds, boot = None, 0.0, None
    with _reading(log) as file:
        for event in _events_backwards(file, first_and_last=True) if file else ():
            if event.boot != boot and math.isfinite(event.monotonic):
                seconds += event.monotonic
            boot, started = event.boot, event.wall_time
    return EarlierWork(started=started, seconds=seconds)


@contextmanager
def _reading(log: Path) -> Iterator[BinaryIO | None]:
    """Opens a log; gives ``None`` if it is missing."""
    try:
        with open_regular(log) as file:
            yield file
    except FileNotFoundError:
        yield None
    except OSError as error:
        raise NissaError(f"cannot read event log '{log}': {os_reason(error)}") from error
    except LeylineError as error:
        raise NissaError(f"event log '{log}' {error}") from None


def _first_named(log: BinaryIO) -> str | None:
    """Returns the run that the first line of a log names, ``None`` if it names none."""
    log.seek(0)
    try:
        return parse_event(log.readline(MAX_LINE)).run_id
    except (ValidationError, RecursionError):
        return None


def _events_backwards(file: BinaryIO, *, first_and_last: bool = False) -> Iterator[Event]:
    """Yields the events of a log from the last one on; lines that are no event are skipped.

    Args:
        file: The log.
        first_and_last: Whether to yield only those of each process.
    """
    wanted = True
    for line in lines_backwards(file, unfinished=True):
        # Each process begins with run_started; the line before is the last one of another.
        if line is None or not (wanted or b"run_started" in line):
            continue
        try:
            event = parse_event(line)
        except (ValidationError, RecursionError):
            continue
        begins = event.kind == "run_started"
        if wanted or begins:
            yield event
        wanted = begins or not first_and_last
