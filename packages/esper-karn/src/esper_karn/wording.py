"""How numbers, durations and ages are written for people."""

from __future__ import annotations

import math

MISSING = "–"
"""Stands where nothing was measured."""


def signed(value: float | None, digits: int = 2) -> str:
    """Writes a value with its sign, such as ``+1.23``."""
    return MISSING if value is None else f"{value:+.{digits}f}"


def plain(value: float | None, digits: int) -> str:
    """Writes a value with a fixed number of digits."""
    return MISSING if value is None else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """Writes a count, or a mean of counts, as a whole number with separators."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if math.isfinite(value) else str(value)


def mean_count(value: float) -> str:
    """Writes a mean of counts: small fractions with one digit, anything else whole."""
    return count(value) if value >= 10 or value == round(value) else f"{value:.1f}"


def duration(seconds: float | None) -> str:
    """Writes a duration, such as ``2:31`` or ``1:02:31``."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def age(seconds: float | None) -> str:
    """Writes how long ago something was, such as ``12 s ago``."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    left = max(0.0, seconds)
    for unit, size in (("s", 60), ("min", 60), ("h", 24)):
        if left < size:
            return f"{left:.0f} {unit} ago"
        left /= size
    return f"{left:.0f} d ago"


def several(number: int, one: str, many: str | None = None) -> str:
    """Writes a number of things, such as ``1 host`` or ``3 hosts``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
