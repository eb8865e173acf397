"""Quotients of numbers from a log, which may be integers too large for a float."""

from __future__ import annotations

import math


def ratio(part: float, whole: float) -> float:
    """Returns ``part / whole``; infinite where the quotient is larger than any float.

    Args:
        part: Any number.
        whole: Any number but zero.
    """
    try:
        return part / whole
    except OverflowError:
        if isinstance(part, int) and isinstance(whole, int):
            return math.inf if (part < 0) == (whole < 0) else -math.inf
        return 0.0 if isinstance(whole, int) else math.copysign(math.inf, part)
