"""Pairs the episodes of two runs in which the same host was trained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from esper_karn.comparison.curves import mean_of
from esper_leyline.estimates import interval_of_mean
from esper_leyline.wire import Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one episode ended.

    Attributes:
        rng_seed: The host's own random seed: its weights, and the order of its data.
        accuracy: Final validation accuracy in percent, ``None`` if it was not measured.
        episode_return: Undiscounted sum of the episode's rewards.
    """

    rng_seed: int
    accuracy: float | None
    episode_return: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The mean of paired differences, with the interval that an evaluation has.

    Attributes:
        hosts: Number of pairs.
        mean: ``None`` without a pair.
        low: Lower end of the 95 % interval; ``None`` with fewer than two pairs, or where it is
            not finite.
        high: Its upper end.
    """

    hosts: int
    mean: Float | None = None
    low: Float | None = None
    high: Float | None = None

    @classmethod
    def of(cls, differences: Sequence[float]) -> Difference:
        """Estimates the mean of finite differences."""
        if not differences:
            return cls(hosts=0)
        mean = mean_of(differences)
        found = interval_of_mean([differences])
        if not math.isfinite(found.high - found.low):
            return cls(hosts=len(differences), mean=mean)
        return cls(hosts=len(differences), mean=mean, low=found.low, high=found.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRun:
    """A run minus a baseline on the hosts that both trained.

    Attributes:
        run: Name of the run.
        baseline: Name of the run that is subtracted.
        accuracy: Of the hosts with both values, in points of accuracy.
        episode_return: Likewise, in units of the reward.
    """

    run: str
    baseline: str
    accuracy: Difference
    episode_return: Difference


def pair_runs(
    run: tuple[str, Sequence[Outcome]], baseline: tuple[str, Sequence[Outcome]]
) -> PairedRun:
    """Subtracts the outcomes of a baseline from those of a run, host by host.

    Args:
        run: Its name and its episodes, in any order.
        baseline: Likewise.
    """
    (name, mine), (other, theirs) = run, baseline
    accuracies, returns = paired_differences(mine, theirs)
    return PairedRun(
        run=name,
        baseline=other,
        accuracy=Difference.of(accuracies),
        episode_return=Difference.of(returns),
    )


def paired_differences(
    mine: Sequence[Outcome], theirs: Sequence[Outcome]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the differences of accuracies and those of returns, for each host of both."""
    accuracies = _subtract(
        _by_seed((each.rng_seed, each.accuracy) for each in mine),
        _by_seed((each.rng_seed, each.accuracy) for each in theirs),
    )
    returns = _subtract(
        _by_seed((each.rng_seed, each.episode_return) for each in mine),
        _by_seed((each.rng_seed, each.episode_return) for each in theirs),
    )
    return accuracies, returns


def _by_seed(values: Iterable[tuple[int, float | None]]) -> dict[int, float]:
    """Returns the mean finite value of each seed: a seed may come again in a later round."""
    found: dict[int, list[float]] = {}
    for seed, value in values:
        if value is not None and math.isfinite(value):
            found.setdefault(seed, []).append(value)
    return {seed: mean_of(each) for seed, each in found.items()}


def _subtract(mine: Mapping[int, float], theirs: Mapping[int, float]) -> tuple[float, ...]:
    differences = (mine[seed] - theirs[seed] for seed in sorted(mine.keys() & theirs.keys()))
    return tuple(each for each in differences if math.isfinite(each))
