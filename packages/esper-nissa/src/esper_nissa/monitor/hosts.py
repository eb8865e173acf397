"""What changes in one host's episode: it settles, stops improving, falls or rises."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from esper_leyline.events import (
    DegradationDetected,
    HostStabilized,
    ImprovementDetected,
    PlateauDetected,
)
from esper_leyline.health import Gauge, Limits, is_loss_stable

_PLATEAU = Limits(warning=5, margin=5)
_FALL = Limits(warning=5.0, margin=3.0)

HostChange = HostStabilized | PlateauDetected | DegradationDetected | ImprovementDetected


@dataclass(frozen=True, slots=True, kw_only=True)
class HostThresholds:
    """Limits of the rules for hosts. Points are percentage points of validation accuracy.

    Accuracy means the mean of the last ``window`` epochs, because single epochs are noisy.

    Attributes:
        window: Epochs of that mean, and epochs in which the loss of a settled host is stable.
        progress_points: Accuracy that rises by this has improved.
        rise_points: Rise above a plateau that ends it.
        plateau: Limits of the epochs without improvement; the next improvement ends a plateau.
        fall: Limits of the points below the best accuracy.
    """

    window: int = 3
    progress_points: float = 1.0
    rise_points: float = 2.0
    plateau: Limits = _PLATEAU
    fall: Limits = _FALL


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTrend:
    """One host's episode so far, as far as the rules read it.

    Attributes:
        losses: Validation losses of the last ``window + 1`` epochs.
        accuracies: Validation accuracies of the last ``window`` epochs.
        settled: Whether the loss has been stable for a whole window.
        mark: Mean accuracy at the last improvement, ``None`` before the first full window.
        idle: Epochs since then.
        best: Highest mean accuracy.
        lowest: Lowest mean accuracy in the present degradation.
        plateau: Epochs without improvement; alarming from a plateau until the next clear rise.
        fall: Points below the best; alarming from a degradation until the host has recovered.
    """

    losses: tuple[float, ...] = ()
    accuracies: tuple[float, ...] = ()
    settled: bool = False
    mark: float | None = None
    idle: int = 0
    best: float = -math.inf
    lowest: float = math.inf
    plateau: Gauge = field(default_factory=Gauge)
    fall: Gauge = field(default_factory=Gauge)


def observe_epoch(
    trend: HostTrend,
    val_loss: float | None,
    val_accuracy: float | None,
    thresholds: HostThresholds,
) -> tuple[HostTrend, tuple[HostChange, ...]]:
    """Returns the episode after one more epoch, and what changed in it.

    An epoch without finite loss and accuracy changes nothing.
    """
    if not (_is_finite(val_loss) and _is_finite(val_accuracy)):
        return trend, ()
    assert val_loss is not None
    assert val_accuracy is not None
    window = thresholds.window
    trend = replace(
        trend,
        losses=(*trend.losses, val_loss)[-window - 1 :],
        accuracies=(*trend.accuracies, val_accuracy)[-window:],
    )
    changes: list[HostChange] = []
    if not trend.settled and is_loss_stable(trend.losses, window):
        trend = replace(trend, settled=True)
        changes.append(HostStabilized(val_loss=val_loss))
    if len(trend.accuracies) < window:
        return trend, tuple(changes)
    mean = math.fsum(trend.accuracies) / window
    after = _with_mean(trend, mean, thresholds)
    changes += _changes(trend, after, mean)
    return after, tuple(changes)


def _with_mean(trend: HostTrend, mean: float, thresholds: HostThresholds) -> HostTrend:
    on_plateau = trend.plateau.is_alarming
    points = thresholds.rise_points if on_plateau else thresholds.progress_points
    improved = trend.mark is None or mean - trend.mark >= points
    idle = 0 if improved else trend.idle + 1
    best = max(trend.best, mean)
    fall = trend.fall.observe(best - mean, thresholds.fall)
    return replace(
        trend,
        mark=mean if improved else trend.mark,
        idle=idle,
        best=best,
        lowest=min(trend.lowest, mean) if fall.is_alarming else math.inf,
        plateau=trend.plateau.observe(idle, thresholds.plateau),
        fall=fall,
    )


def _changes(before: HostTrend, after: HostTrend, mean: float) -> Iterator[HostChange]:
    if after.plateau.worsened(before.plateau):
        yield PlateauDetected(epochs_without_improvement=after.idle)
    if after.fall.worsened(before.fall):
        yield DegradationDetected(drop=after.best - mean)
    if after.fall.recovered(before.fall):
        yield ImprovementDetected(gain=mean - before.lowest)
    elif after.plateau.recovered(before.plateau):
        assert before.mark is not None
        yield ImprovementDetected(gain=mean - before.mark)


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
