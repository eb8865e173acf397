"""The files of a run: what they are called, where the log is, and its lines from the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from esper_leyline.errors import LeylineError
from esper_leyline.files.paths import os_reason, read_regular

CONFIG_FILE = "config.json"
"""The resolved configuration, which ``--config-json`` takes again."""
LOG_FILE = "events.jsonl"
"""The event log, unless ``POINTER_FILE`` names another file."""
POINTER_FILE = "events.path"
"""The path of a log that is elsewhere, on one line."""
SUMMARY_FILE = "summary.json"
"""How the run ended; missing while it runs and after a crash."""
LOCK_FILE = "run.lock"
"""Locked by the process that trains the run, and names it."""
CHECKPOINT_FOLDER = "checkpoints"

POINTER_LIMIT = 1 << 16
"""Longest path in a pointer file, in bytes."""

MAX_LINE = 4 << 20
"""Longest line of a log that is read, in bytes: many times the longest event."""

_BLOCK = 1 << 16


def locate_log(run_directory: Path) -> Path:
    """Returns where a run's log is, or will be.

    Raises:
        LeylineError: If there is a pointer file that cannot be read or holds no path.
    """
    pointer = run_directory / POINTER_FILE
    try:
        content = read_regular(pointer, POINTER_LIMIT)
    except FileNotFoundError:
        return run_directory / LOG_FILE
    except OSError as error:
        raise LeylineError(f"cannot read '{pointer}': {os_reason(error)}") from error
    except LeylineError as error:
        raise LeylineError(f"cannot read '{pointer}': it {error}") from None
    name = os.fsdecode(content).strip()
    if not name or "\0" in name:
        raise LeylineError(f"cannot read '{pointer}': it holds no path of a log")
    return run_directory / name


def lines_backwards(
    file: BinaryIO, *, unfinished: bool, within: int | None = None
) -> Iterator[bytes | None]:
    """Yields the lines of a file from the last to the first, in bounded memory.

    Args:
        file: Read from its end.
        unfinished: Whether to yield what follows the last newline, too.
        within: Yield only lines that lie whole in so many bytes at the end; ``None`` for all.

    Yields:
        A line without its newline; ``None`` for one longer than ``MAX_LINE``.
    """
    end = file.seek(0, os.SEEK_END)
    first = 0 if within is None else max(0, end - within)
    pieces: list[bytes] = []
    length = 0
    complete = False  # whether a newline follows the pieces
    while end > first:
        start = max(first, end - _BLOCK)
        file.seek(start)
        # The last piece of a block continues in the blocks that were read before.
        for number, piece in enumerate(reversed(file.read(end - start).split(b"\n"))):
            if number > 0:
                if complete or (unfinished and length > 0):
                    yield _line(pieces, length)
                complete, pieces, length = True, [], 0
            length += len(piece)
            pieces = [] if length > MAX_LINE else [*pieces, piece]
        end = start
    if first == 0 and (complete or (unfinished and length > 0)):
        yield _line(pieces, length)


def _line(pieces: list[bytes], length: int) -> bytes | None:
    return b"".join(reversed(pieces)) if length <= MAX_LINE else None
