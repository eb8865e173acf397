"""The log: anomalies, seeds, hosts and steps of the run, one after another."""

from __future__ import annotations

from functools import lru_cache

from esper_karn.formatting import format_count, format_fixed, format_index
from esper_karn.tui.block import Block, Line, message, paragraph, span
from esper_karn.tui.palette import Palette
from esper_karn.tui.source import LogPage
from esper_karn.views.log import LogLine

MARKS = {"anomaly": "▲", "seed": "♦", "host": "○", "run": "■"}
"""A mark for what a line is about."""

WHERE = 22
"""Columns of the round, the epoch and the host."""


def log_block(found: LogPage | None, palette: Palette, width: int) -> Block:
    """Draws the lines of the log, the latest last."""
    if found is None:
        return message("nothing happened yet", width, palette.faint)
    log = found.log
    if not log.lines:
        why = _above(found) if found.share < 1.0 else log.empty
        return message(why, width, palette.faint)
    lines: list[Line] = [*paragraph(_above(found), width, palette.faint)]
    keys: list[int | None] = [None] * len(lines)
    for each in log.lines:
        drawn = _line(each, palette.name, _style(each, palette), palette.faint, width)
        lines += drawn
        keys += [each.sequence] * len(drawn)
    return Block(lines=lines, keys=keys)


def _above(found: LogPage) -> str:
    """Says what is above the first line."""
    if found.share < 1.0:
        return f"↑ reading older lines: {format_fixed(100 * found.share, 0)} %"
    if found.older is None:
        return "↑ scroll up for older lines"
    return f"↑ {format_count(found.older)} older" if found.older else "the first line of the log"


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
