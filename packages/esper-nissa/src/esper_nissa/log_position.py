"""Where a log ends, so that a resumed run continues its sequence numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from esper_leyline import LeylineError, open_regular
from esper_leyline.events import parse_event
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
    try:
        with open_regular(log) as file:
            for line in lines_backwards(file, unfinished=True):
                if line is None:
                    continue
                try:
                    event = parse_event(line)
                except (ValidationError, RecursionError):
                    continue
                named = event.run_id or _first_named(file)
                if named not in (None, run_id):
                    raise NissaError(
                        f"event log '{log}' is of run '{named}', not of '{run_id}'; move it "
                        "away, and the run continues with a new log"
                    )
                return LogPosition(boot=event.boot + 1, sequence=event.sequence + 1)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise NissaError(f"cannot read event log '{log}': {os_reason(error)}") from error
    except LeylineError as error:
        raise NissaError(f"event log '{log}' {error}") from None
    return LogPosition(boot=0, sequence=0)


def _first_named(log: BinaryIO) -> str | None:
    """Returns the run that the first line of a log names, ``None`` if it names none."""
    log.seek(0)
    try:
        return parse_event(log.readline(MAX_LINE)).run_id
    except (ValidationError, RecursionError):
        return None
