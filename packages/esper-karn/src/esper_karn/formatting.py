"""Formats numbers, durations and ages for people."""

from __future__ import annotations

import math
from decimal import Decimal

MISSING = "–"
"""Shown for a value that was not measured."""

LONGEST_FIXED = 10**7
"""Numbers with decimals are written as ``1.2e7`` from here on."""

LONGEST_COUNT = 10**12
"""Counts are written as ``1.2e12`` from here on."""

_LONGEST_DURATION = 10**9
_LARGEST_FLOAT = 10**308


def format_number(value: float | None, digits: int, *, sign: bool = False) -> str:
    """Formats a number in at most 16 characters; every other function here uses it.

    ``NaN`` and ``inf`` are words, very large numbers are short (``1.0e308``), and zero has
    no minus sign. Without decimals, thousands are separated.

    Args:
        value: The number; an integer may be of any size. ``None`` gives ``–``.
        digits: Number of decimals.
        sign: Whether positive numbers get a ``+``.
    """
    if value is None:
        return MISSING
    plus = "+" if sign else ""
    if not _finite(value):
        return "NaN" if math.isnan(value) else f"{value:{plus}}"
    if abs(value) >= (LONGEST_FIXED if digits else LONGEST_COUNT):
        return _scientific(value, plus)
    return f"{float(value):{plus}z,.0f}" if digits == 0 else f"{value:{plus}z.{digits}f}"


def format_significant(value: float | None, digits: int = 3) -> str:
    """Formats a number of any magnitude with its leading digits: ``0.00123``."""
    if value is None or not _finite(value) or abs(value) >= _LARGEST_FLOAT:
        return format_number(value, 0)
    mantissa, _, exponent = f"{float(value):z.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def format_signed(value: float | None, digits: int = 2) -> str:
    """Formats a value with its sign: ``+1.23``."""
    return format_number(value, digits, sign=True)


def format_fixed(value: float | None, digits: int) -> str:
    """Formats a value with a fixed number of decimals."""
    return format_number(value, digits)


def format_count(value: float | None) -> str:
    """Formats a count, or a mean of counts, as a whole number with separators."""
    return format_number(value, 0)


def format_index(value: int) -> str:
    """Formats the number of a round or an epoch, without separators."""
    return format_count(value).replace(",", "")


def format_mean(value: float) -> str:
    """Formats a mean of counts: small fractions with one decimal, all others whole."""
    if not _finite(value) or abs(value) >= 10 or value == round(value):
        return format_count(value)
    return format_fixed(value, 1)


def format_duration(seconds: float | None) -> str:
    """Formats a duration: ``2:31`` or ``1:02:31``; a negative one has a minus."""
    if seconds is None or not abs(seconds) < _LONGEST_DURATION:
        return f"{format_number(seconds, 0)} s" if seconds is not None else MISSING
    whole = round(seconds)
    minutes, second = divmod(abs(whole), 60)
    hours, minute = divmod(minutes, 60)
    minus = "-" if whole < 0 else ""
    clock = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return minus + clock


def format_age(seconds: float | None) -> str:
    """Formats an age: ``12 s ago``.

    A time more than a minute ahead of this machine's clock is ``in the future``.
    """
    if seconds is None:
        return MISSING
    if not _finite(seconds):
        return f"{format_number(seconds, 0)} s ago"
    if seconds < -60:
        return f"{_span(-seconds)} in the future"
    return f"{_span(max(0.0, seconds))} ago"


def pluralize(quantity: int, one: str, many: str | None = None) -> str:
    """Formats a number of things: ``1 host`` or ``3 hosts``."""
    return f"{format_count(quantity)} {one if quantity == 1 else many or one + 's'}"


def _span(left: float) -> str:
    for unit, size in (("s", 60), ("min", 60), ("h", 24)):
        if round(left) < size:
            return f"{round(left)} {unit}"
        left = left / size if left < _LARGEST_FLOAT else left // size
    return f"{format_number(left, 0)} d"


def _scientific(value: float, plus: str) -> str:
    # Decimal takes integers that are too large for a float.
    mantissa, exponent = f"{Decimal(value):{plus}.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _finite(value: float) -> bool:
    # An integer may be too large for ``math.isfinite``.
    return isinstance(value, int) or math.isfinite(value)
