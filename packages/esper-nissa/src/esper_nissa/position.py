"""Where a log stands, so that a resumed run counts on without a gap."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from esper_leyline.events import Event
from esper_nissa.errors import NissaError, os_reason

_BLOCK = 1 << 16


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

    A torn or malformed last line does not count: its sequence number is free again.

    Returns:
        Boot 0 and sequence 0 for a log that is missing or holds no event.

    Raises:
        NissaError: If the log cannot be read.
    """
    try:
        with log.open("rb") as file:
            for line in _lines_backwards(file):
                try:
                    event = Event.model_validate_json(line)
                except ValidationError:
                    continue
                return LogPosition(boot=event.boot + 1, sequence=event.sequence + 1)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise NissaError(f"cannot read event log '{log}': {os_reason(error)}") from error
    return LogPosition(boot=0, sequence=0)


def _lines_backwards(file: BinaryIO) -> Iterator[bytes]:
    """Yields non-empty lines from the last to the first."""
    end = file.seek(0, os.SEEK_END)
    tail = b""
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        lines = (file.read(end - start) + tail).split(b"\n")
        # The first piece may continue in the block before, unless this is the first block.
        tail = lines.pop(0) if start > 0 else b""
        yield from (line for line in reversed(lines) if line)
        end = start
