"""Two pieces of work timed in turn, A B A B: the ratio stands where the machine's speed drifts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """Seconds of A over seconds of B, pair by pair.

    Attributes:
        median: The middle of the ratios.
        low: Their first quartile.
        high: Their third quartile.
        seconds: Median seconds of A and of B.
    """

    median: float
    low: float
    high: float
    seconds: tuple[float, float]

    def __str__(self) -> str:
        """Returns the median with its quartiles."""
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


def compare(
    one: Callable[[], object], other: Callable[[], object], *, pairs: int, repeats: int
) -> Ratio:
    """Times ``repeats`` calls of each in turn, ``pairs`` times, after a warm-up of both."""
    _seconds(one, repeats)
    _seconds(other, repeats)
    times = []
    for index in range(pairs):
        # The first of a pair may run on a colder machine, so the order alternates.
        first, second = (one, other) if index % 2 == 0 else (other, one)
        a, b = _seconds(first, repeats), _seconds(second, repeats)
        times.append((a, b) if index % 2 == 0 else (b, a))
    ratios = [a / b for a, b in times]
    low, median, high = statistics.quantiles(ratios, n=4)
    return Ratio(
        median,
        low,
        high,
        (statistics.median(a for a, _ in times), statistics.median(b for _, b in times)),
    )


def _seconds(work: Callable[[], object], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    return time.perf_counter() - started
