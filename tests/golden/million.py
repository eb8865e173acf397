"""A log of any length, made by repeating the rounds of a golden log."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

FOLDER = Path(__file__).parent

_ONCE = re.compile(rb'"kind":"(run_|environment_built|checkpoint_|test_evaluated)')
_SEQUENCE = re.compile(rb'"sequence":\d+')
_ROUND = re.compile(rb'"round":(\d+)')
_CLOCK = re.compile(rb'"(monotonic|wall_time)":([\d.]+)')


def write_repeated(source: str, target: Path, events: int) -> None:
    """Writes a log of the start of a golden log, and then its rounds again and again.

    Args:
        source: Name of the golden log.
        target: The file to write.
        events: Least number of events.
    """
    lines = read_golden(source).splitlines()
    rounds = [line for line in lines if not _ONCE.search(line)]
    start = [line for line in lines[: lines.index(rounds[0])] if b'"run_phase"' not in line]
    most = max(int(found[1]) for line in rounds for found in _ROUND.finditer(line))
    sequence = 0
    with target.open("wb") as file:
        for line in start:
            file.write(_SEQUENCE.sub(b'"sequence":%d' % sequence, line, count=1) + b"\n")
            sequence += 1
        repeat = 0
        while sequence < events:
            for line in rounds:
                file.write(_moved(line, sequence, repeat * most, 100.0 * repeat) + b"\n")
                sequence += 1
            repeat += 1


def read_golden(name: str) -> bytes:
    """Returns the content of a golden log."""
    return gzip.decompress((FOLDER / f"{name}.jsonl.gz").read_bytes())


def _moved(line: bytes, sequence: int, rounds: int, seconds: float) -> bytes:
    """Returns a line as one of a later round."""
    line = _SEQUENCE.sub(b'"sequence":%d' % sequence, line, count=1)
    line = _ROUND.sub(lambda found: b'"round":%d' % (int(found[1]) + rounds), line)
    return _CLOCK.sub(
        lambda found: b'"%s":%.3f' % (found[1], float(found[2]) + seconds), line, count=2
    )
