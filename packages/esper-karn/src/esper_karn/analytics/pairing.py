"""Pairs the episodes of two runs in which the same host was trained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from esper_karn.analytics.curves import mean_of


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
class PairedDifferences:
    """Differences of a run from a baseline on the hosts that both trained.

    Attributes:
        run: Name of the run.
        baseline: Name of the run that is subtracted.
        accuracy: For each host with both values, in points of accuracy.
        episode_return: Likewise, in units of the reward.
    """

    run: str
    baseline: str
    accuracy: tuple[float, ...]
    episode_return: tuple[float, ...]


def pair_runs(
    run: tuple[str, Sequence[Outcome]], baseline: tuple[str, Sequence[Outcome]]
) -> PairedDifferences:
    """Subtracts the outcomes of a baseline from those of a run, host by host.

    Args:
        run: Its name and its episodes, in any order.
        baseline: Likewise.
    """
    (name, mine), (other, theirs) = run, baseline
    return PairedDifferences(
        run=name,
        baseline=other,
        accuracy=_subtract(
            _by_seed((each.rng_seed, each.accuracy) for each in mine),
            _by_seed((each.rng_seed, each.accuracy) for each in theirs),
        ),
        episode_return=_subtract(
            _by_seed((each.rng_seed, each.episode_return) for each in mine),
            _by_seed((each.rng_seed, each.episode_return) for each in theirs),
        ),
    )


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
