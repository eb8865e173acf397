"""What changes over rounds: accuracy that stays below its best."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from esper_leyline.events import PerformanceDegradation
from esper_leyline.health import Gauge, Limits

_FALL = Limits(warning=5.0, margin=3.0, patience=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyThresholds:
    """Limits of the rule for a run's accuracy, in percentage points.

    Attributes:
        window: Rounds whose mean accuracies are averaged, because hosts of a round differ.
        fall: Limits of the points below the best such average.
    """

    window: int = 5
    fall: Limits = _FALL


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyTrend:
    """A run's accuracy so far.

    Attributes:
        recent: Mean accuracies of the last rounds.
        best: The highest average of ``window`` rounds.
        fall: Points below that average.
    """

    recent: tuple[float, ...] = ()
    best: float = -math.inf
    fall: Gauge = field(default_factory=Gauge)


def observe_accuracy(
    trend: AccuracyTrend, accuracy: float | None, thresholds: AccuracyThresholds
) -> tuple[AccuracyTrend, PerformanceDegradation | None]:
    """Returns the trend after one more round, and a warning if it has fallen far.

    A round without a finite accuracy changes nothing.
    """
    if accuracy is None or not math.isfinite(accuracy):
        return trend, None
    trend = replace(trend, recent=(*trend.recent, accuracy)[-thresholds.window :])
    if len(trend.recent) < thresholds.window:
        return trend, None
    average = math.fsum(trend.recent) / thresholds.window
    best = max(trend.best, average)
    fall = trend.fall.observe(best - average, thresholds.fall)
    worsened = fall.worsened(trend.fall)
    trend = replace(trend, best=best, fall=fall)
    return trend, PerformanceDegradation(best=best, current=average) if worsened else None
