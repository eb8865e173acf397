"""A value over the rounds of a run, in three numbers: best, last and the area below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from esper_leyline.wire import Float

Point = tuple[int, float | None]
"""A round, and the value that was measured in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveSummary:
    """A curve in three numbers, in the unit of its values; ``None`` where no value is finite.

    Attributes:
        best: The highest value.
        last: The value of the last round that has a finite one.
        area: The area below the curve, divided by its width (``area_under_curve``).
    """

    best: Float | None
    last: Float | None
    area: Float | None


def summarize_curve(points: Sequence[Point], last_round: int | None = None) -> CurveSummary:
    """Summarizes a curve; values that are not finite are left out.

    Args:
        points: In the order of rounds.
        last_round: Where the area ends, so that runs of different length can be compared;
            ``None`` for the whole curve. Best and last value are those of the whole curve.
    """
    known = finite(points)
    values = [value for _, value in known]
    within = [each for each in known if last_round is None or each[0] <= last_round]
    return CurveSummary(
        best=max(values, default=None),
        last=values[-1] if values else None,
        area=area_under_curve(within),
    )


def area_under_curve(points: Sequence[tuple[int, float]]) -> float | None:
    """Returns the area below a curve by the trapezoidal rule, divided by the curve's width.

    It is a mean over rounds in the unit of the values: 50 for a curve that rises evenly from
    40 to 60. A single point is its own mean.

    Args:
        points: Round and finite value, in the order of rounds.

    Returns:
        ``None`` without points.
    """
    if len(points) < 2:
        return points[0][1] if points else None
    width = points[-1][0] - points[0][0]
    # Each difference is divided by the width first: the sum of large values stays finite.
    return sum((b[1] / 2 + a[1] / 2) * ((b[0] - a[0]) / width) for a, b in pairwise(points))


def finite(points: Sequence[Point]) -> list[tuple[int, float]]:
    """Returns the points with a finite value."""
    return [(at, value) for at, value in points if value is not None and math.isfinite(value)]


def mean_of(values: Sequence[float]) -> float:
    """Returns the mean of finite values, one at least; no sum of large values overflows."""
    return math.fsum(value / len(values) for value in values)
