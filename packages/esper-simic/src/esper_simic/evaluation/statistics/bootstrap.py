"""Percentile intervals by the stratified bootstrap: runs are resampled within each task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from esper_leyline.estimates import Estimate
from esper_simic.errors import SimicError
from esper_simic.evaluation.statistics.scores import (
    interquartile_mean,
    probability_of_improvement,
    read_scores,
    trimmed_mean,
    wins,
)

BATCH = 1 << 20
"""Scores that are resampled at a time, which bounds memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How a bootstrap interval is drawn.

    Attributes:
        confidence: Share of the resamples that the interval covers.
        resamples: Number of resamples.
        rng_seed: Seed of the random generator; equal scores and seeds give equal intervals.

    Raises:
        SimicError: If a value is out of range.
    """

    confidence: float = 0.95
    resamples: int = 10_000
    rng_seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise SimicError(f"confidence is {self.confidence}; it lies between 0 and 1")
        if self.resamples < 1:
            raise SimicError(f"resamples are {self.resamples}; take at least 1")


def estimate_iqm(scores: ArrayLike, resampling: Resampling | None = None) -> Estimate:
    """Estimates the interquartile mean.

    For the interquartile mean of paired differences pass the differences.

    Args:
        scores: [runs] or [runs, tasks].
        resampling: 10,000 resamples and 95 % by default.

    Raises:
        SimicError: If there are no scores, or one is not finite.
    """
    resampling = resampling or Resampling()
    known = read_scores(scores)
    value = interquartile_mean(known)
    if len(known) == 1:
        # Every resample of a single run is that run.
        return Estimate(value=value, low=value, high=value)
    drawn = stats.bootstrap(
        tuple(known.T),  # a sample for each task: resampled apart
        _pooled_trimmed_mean,
        n_resamples=resampling.resamples,
        batch=max(BATCH // known.size, 1),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(resampling.rng_seed),
    ).bootstrap_distribution
    return _interval(value, drawn, resampling)


def _pooled_trimmed_mean(*tasks: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Returns the trimmed mean of the scores of all tasks, each [..., runs]."""
    return trimmed_mean(np.concatenate(tasks, axis=axis))


def estimate_improvement(
    first: ArrayLike,
    second: ArrayLike,
    resampling: Resampling | None = None,
    *,
    paired: bool = True,
) -> Estimate:
    """Estimates the probability that the first arm beats the second.

    Args:
        first: [runs] or [runs, tasks].
        second: The same.
        resampling: 10,000 resamples and 95 % by default.
        paired: Whether the n-th runs of both arms used the same seed. Paired runs are
            resampled together, unpaired ones apart, as in Agarwal et al. 2021.

    Raises:
        SimicError: If scores are missing, not finite, of different tasks, or paired
            and of different number.
    """
    resampling = resampling or Resampling()
    mine, theirs = read_scores(first, "the first arm's"), read_scores(second, "the second arm's")
    if paired:
        check_paired(mine, theirs)
    generator, chances = np.random.default_rng(resampling.rng_seed), []
    for won in wins(mine, theirs):
        drawn = _counts(generator, len(mine), resampling)
        against = drawn if paired else _counts(generator, len(theirs), resampling)
        # Share of wins among all pairs of resampled runs: c_first' W c_second / (n * m)
        chances.append(((drawn @ won) * against).sum(axis=-1) / won.size)
    value = probability_of_improvement(mine, theirs)
    return _interval(value, np.mean(chances, axis=0), resampling)


def check_paired(first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
    """Checks that every score has its counterpart.

    Raises:
        SimicError: If the arms have different shapes.
    """
    if first.shape != second.shape:
        raise SimicError(
            f"paired arms have scores of shapes {first.shape} and {second.shape} [runs, tasks]; "
            "run both on the same seeds and tasks"
        )


def _counts(
    generator: np.random.Generator, runs: int, resampling: Resampling
) -> NDArray[np.float64]:
    """Returns how often each resample contains each run, [resamples, runs]."""
    even = np.full(runs, 1 / runs)
    return generator.multinomial(runs, even, size=resampling.resamples).astype(np.float64)


def _interval(value: float, resampled: NDArray[np.float64], resampling: Resampling) -> Estimate:
    """Returns the percentile interval of resampled figures."""
    tail = (1 - resampling.confidence) / 2
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Estimate(value=value, low=float(low), high=float(high))
