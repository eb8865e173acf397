"""Where a log stands, so that a resumed run counts on without a gap."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from esper_leyline import LeylineError, open_regular
from esper_leyline.events import parse_event
from esper_nissa.errors import NissaError, os_reason

_BLOCK = 1 << 16

MAX_LINE = 4 << 20
"""Longer lines are no events; they are skipped without being held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """What the next hub on a log is given.

    Attributes:
        boot: Number of processes that wrote the log before.
        sequence: The first free sequence number.
    """

    boot: int
    sequence: int


def next_position(log: Path) -> LogPosition:
    """Finds where a log goes on, reading only its end.

    A torn, malformed or overlong last line does not count: its sequence number is free
    again.

    Returns:
        Boot 0 and sequence 0 for a log that is missing or holds no event.

    Raises:
        NissaError: If the log cannot be read, is not a regular file, or was written under
            another schema version.
    """
    try:
        with open_regular(log) as file:
            for line in _lines_backwards(file):
                try:
                    event = parse_event(line)
                except (ValidationError, RecursionError):
                    continue
                return LogPosition(boot=event.boot + 1, sequence=event.sequence + 1)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise NissaError(f"cannot read event log '{log}': {os_reason(error)}") from error
    except LeylineError as error:
        raise NissaError(f"event log '{log}' {error}") from None
    return LogPosition(boot=0, sequence=0)


def _lines_backwards(file: BinaryIO) -> Iterator[bytes]:
    """Yields non-empty lines of at most ``MAX_LINE`` bytes from the last to the first."""
    end = file.seek(0, os.SEEK_END)
    pieces: list[bytes] = []
    length = 0
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        # Only the last piece is followed by what earlier blocks left unfinished.
        for number, piece in enumerate(reversed(file.read(end - start).split(b"\n"))):
            if number > 0:
                if 0 < length <= MAX_LINE:
                    yield b"".join(reversed(pieces))
                pieces, length = [], 0
            length += len(piece)
            if length > MAX_LINE:
                pieces = []
            elif piece:
                pieces.append(piece)
        end = start
    if 0 < length <= MAX_LINE:
        yield b"".join(reversed(pieces))
