"""Small pictures made of characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from esper_leyline.health import Level

LEVELS = "▁▂▃▄▅▆▇█"
GAP = "·"
"""Stands for a value that is missing or not finite."""

LEVEL_MARKS = {Level.OK: "✔", Level.WARNING: "▲", Level.BAD: "✖", Level.UNKNOWN: "○"}
"""A mark for each level of health; no colour stands alone."""

STAGE_STYLES = {
    "GERMINATED": "bright_cyan",
    "TRAINING": "yellow",
    "BLENDING": "bright_yellow",
    "HOLDING": "magenta",
    "FOSSILIZED": "green",
    "PRUNED": "red",
}


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Draws values as a line of blocks, scaled to their range.

    Args:
        values: Oldest first; the latest ``width`` are drawn.
        width: In columns.
    """
    shown = values[-width:]
    finite = [value for value in shown if value is not None and math.isfinite(value)]
    if not finite:
        return GAP * len(shown)
    low, span = min(finite), max(finite) - min(finite)
    return "".join(_block(value, low, span) for value in shown)


def logarithms(values: Sequence[float | None]) -> list[float | None]:
    """Returns the decimal logarithms of values; ``None`` for those that have none."""
    return [
        math.log10(value) if value is not None and math.isfinite(value) and value > 0 else None
        for value in values
    ]


def bar(share: float, width: int) -> str:
    """Draws a share, 0 to 1, as a bar of at most ``width`` columns."""
    if not math.isfinite(share):
        return ""
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    full, part = divmod(eighths, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[part - 1] if part else "")


def _block(value: float | None, low: float, span: float) -> str:
    if value is None or not math.isfinite(value):
        return GAP
    index = int((value - low) / span * len(LEVELS)) if span else len(LEVELS) // 2
    return LEVELS[min(index, len(LEVELS) - 1)]
