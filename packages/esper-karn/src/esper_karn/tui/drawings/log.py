"""The log: anomalies, seeds, hosts and steps of the run, one after another."""

from __future__ import annotations

from functools import lru_cache

from esper_karn.formatting import format_index
from esper_karn.tui.block import Block, Line, message, paragraph, span
from esper_karn.tui.palette import Palette
from esper_karn.views.log import Log, LogLine

MARKS = {"anomaly": "▲", "seed": "♦", "host": "○", "run": "■"}
"""A mark for what a line is about."""

WHERE = 22
"""Columns of the round, the epoch and the host."""


def log_block(found: Log | None, palette: Palette, width: int) -> Block:
    """Draws the lines of the log, the latest last."""
    if found is None or found.empty is not None:
        return message(found.empty if found else "nothing happened yet", width, palette.faint)
    lines: list[Line] = []
    keys: list[int] = []
    for each in found.lines:
        drawn = _line(each, palette.name, _style(each, palette), palette.faint, width)
        lines += drawn
        keys += [each.sequence] * len(drawn)
    return Block(lines=lines, keys=keys)


def _style(line: LogLine, palette: Palette) -> str:
    return palette.warning if line.group == "anomaly" else ""


@lru_cache(maxsize=32_768)
def _line(line: LogLine, _theme: str, style: str, faint: str, width: int) -> tuple[Line, ...]:
    """Draws one line; kept, because a log grows at its end."""
    where = [
        f"{letter}{format_index(value)}"
        for letter, value in (("r", line.round), ("e", line.epoch), ("h", line.environment))
        if value is not None
    ]
    left = " ".join(where).ljust(WHERE)
    first, *others = paragraph(f"{MARKS[line.group]} {line.text}", width - WHERE, style, "  ")
    return (
        [span(left, faint), *first],
        *([span(" " * WHERE), *each] for each in others),
    )
