"""What changes in one host's episode: it settles, stops improving, falls or rises."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from esper_leyline.events import (
    DegradationDetected,
    HostStabilized,
    ImprovementDetected,
    PlateauDetected,
)
from esper_nissa.monitor.alarm import Alarm

HostChange = HostStabilized | PlateauDetected | DegradationDetected | ImprovementDetected


@dataclass(frozen=True, slots=True, kw_only=True)
class HostThresholds:
    """Limits of the rules for hosts. Points are percentage points of validation accuracy.

    Accuracy means the mean of the last ``window`` epochs, because single epochs are noisy.

    Attributes:
        window: Epochs of that mean, and epochs in which the loss of a settled host is stable.
        stable_low: Smallest relative fall of the loss in one epoch that is stable.
        stable_high: Largest.
        progress_points: Accuracy that rises by this has improved.
        plateau_epochs: Epochs without improvement that make a plateau.
        rise_points: Rise above a plateau that ends it.
        fall_points: Fall below the best accuracy that is a degradation.
        recovered_points: Distance from the best accuracy at which a degradation is over.
    """

    window: int = 3
    stable_low: float = -0.05
    stable_high: float = 0.03
    progress_points: float = 1.0
    plateau_epochs: int = 5
    rise_points: float = 2.0
    fall_points: float = 5.0
    recovered_points: float = 2.0


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
        lowest: Lowest mean accuracy since the degradation that is active.
        plateau: Active from a plateau until the next clear rise.
        fallen: Active from a degradation until the host has recovered.
    """

    losses: tuple[float, ...] = ()
    accuracies: tuple[float, ...] = ()
    settled: bool = False
    mark: float | None = None
    idle: int = 0
    best: float = -math.inf
    lowest: float = math.inf
    plateau: Alarm = field(default_factory=Alarm)
    fallen: Alarm = field(default_factory=Alarm)


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
    if not trend.settled and _is_stable(trend.losses, thresholds):
        trend = replace(trend, settled=True)
        changes.append(HostStabilized(val_loss=val_loss))
    if len(trend.accuracies) < window:
        return trend, tuple(changes)
    mean = math.fsum(trend.accuracies) / window
    after = _with_mean(trend, mean, thresholds)
    changes += _changes(trend, after, mean)
    return after, tuple(changes)


def _with_mean(trend: HostTrend, mean: float, thresholds: HostThresholds) -> HostTrend:
    points = thresholds.rise_points if trend.plateau.active else thresholds.progress_points
    improved = trend.mark is None or mean - trend.mark >= points
    idle = 0 if improved else trend.idle + 1
    best = max(trend.best, mean)
    fallen = trend.fallen.observe(
        bad=best - mean >= thresholds.fall_points,
        good=best - mean <= thresholds.recovered_points,
    )
    return replace(
        trend,
        mark=mean if improved else trend.mark,
        idle=idle,
        best=best,
        lowest=min(trend.lowest, mean) if fallen.active else math.inf,
        plateau=trend.plateau.observe(bad=idle >= thresholds.plateau_epochs, good=improved),
        fallen=fallen,
    )


def _changes(before: HostTrend, after: HostTrend, mean: float) -> Iterator[HostChange]:
    if after.plateau.starts(before.plateau):
        yield PlateauDetected(epochs_without_improvement=after.idle)
    if after.fallen.starts(before.fallen):
        yield DegradationDetected(drop=after.best - mean)
    if after.fallen.ends(before.fallen):
        yield ImprovementDetected(gain=mean - before.lowest)
    elif after.plateau.ends(before.plateau):
        assert before.mark is not None
        yield ImprovementDetected(gain=mean - before.mark)


def _is_stable(losses: tuple[float, ...], thresholds: HostThresholds) -> bool:
    """Whether each of the last ``window`` relative falls of the loss is small."""
    falls = [(old - new) / old if old else 0.0 for old, new in pairwise(losses)]
    low, high = thresholds.stable_low, thresholds.stable_high
    return len(falls) == thresholds.window and all(low <= fall <= high for fall in falls)


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
