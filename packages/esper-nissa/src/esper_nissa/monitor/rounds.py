"""What changes over rounds: accuracy that stays below its best, and rounds that get slow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from statistics import median

from esper_leyline.events import PerformanceDegradation, ThroughputWarning
from esper_nissa.monitor.alarm import Alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyThresholds:
    """Limits of the rule for a run's accuracy, in percentage points.

    Attributes:
        window: Rounds whose mean accuracies are averaged, because hosts of a round differ.
        drop_points: Fall below the best such average that counts.
        patience: Rounds in a row at that distance that start the alarm.
        recovered_points: Distance from the best average at which the alarm ends.
    """

    window: int = 5
    drop_points: float = 5.0
    patience: int = 3
    recovered_points: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyTrend:
    """Mean accuracies of the last rounds, and the highest average of such a window."""

    recent: tuple[float, ...] = ()
    best: float = -math.inf
    alarm: Alarm = field(default_factory=Alarm)


def observe_accuracy(
    trend: AccuracyTrend, accuracy: float | None, thresholds: AccuracyThresholds
) -> tuple[AccuracyTrend, PerformanceDegradation | None]:
    """Returns the trend after one more round, and a warning if the alarm starts.

    A round without a finite accuracy changes nothing.
    """
    if accuracy is None or not math.isfinite(accuracy):
        return trend, None
    trend = replace(trend, recent=(*trend.recent, accuracy)[-thresholds.window :])
    if len(trend.recent) < thresholds.window:
        return trend, None
    average = math.fsum(trend.recent) / thresholds.window
    best = max(trend.best, average)
    alarm = trend.alarm.observe(
        bad=best - average >= thresholds.drop_points,
        good=best - average <= thresholds.recovered_points,
        patience=thresholds.patience,
    )
    starts = alarm.starts(trend.alarm)
    trend = replace(trend, best=best, alarm=alarm)
    return trend, PerformanceDegradation(best=best, current=average) if starts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedThresholds:
    """Limits of the rule for a run's speed.

    Attributes:
        window: Rounds before the present one whose median speed is typical. As slow rounds
            enter it, a new speed that lasts becomes typical.
        least: Rounds that are needed to know what is typical.
        slow: Share of the typical speed below which a round is slow.
        patience: Slow rounds in a row that start the alarm.
        recovered: Share of the typical speed at which the alarm ends.
    """

    window: int = 20
    least: int = 5
    slow: float = 0.5
    patience: int = 3
    recovered: float = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedTrend:
    """Speeds of the last rounds, in host epochs per second."""

    recent: tuple[float, ...] = ()
    alarm: Alarm = field(default_factory=Alarm)


def observe_speed(
    trend: SpeedTrend, speed: float, thresholds: SpeedThresholds
) -> tuple[SpeedTrend, ThroughputWarning | None]:
    """Returns the trend after one more round, and a warning if the alarm starts."""
    if not math.isfinite(speed):
        return trend, None
    recent = (*trend.recent, speed)[-thresholds.window :]
    if len(trend.recent) < thresholds.least:
        return replace(trend, recent=recent), None
    typical = median(trend.recent)
    alarm = trend.alarm.observe(
        bad=speed < thresholds.slow * typical,
        good=speed >= thresholds.recovered * typical,
        patience=thresholds.patience,
    )
    starts = alarm.starts(trend.alarm)
    trend = SpeedTrend(recent=recent, alarm=alarm)
    return trend, ThroughputWarning(current=speed, typical=typical) if starts else None
