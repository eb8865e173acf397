"""Percentile intervals by the stratified bootstrap: runs are resampled within each task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esper_simic.errors import SimicError
from esper_simic.evaluation.scores import (
    probability_of_improvement,
    read_scores,
    trimmed_means,
    wins,
)

BLOCK = 1 << 20
"""Scores that are resampled at a time, which bounds memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How an interval is drawn.

    Attributes:
        confidence: Share of the resamples that the interval covers.
        resamples: How many there are.
        seed: Decides them; the same scores and seed give the same interval.

    Raises:
        SimicError: If a value is out of range.
    """

    confidence: float = 0.95
    resamples: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise SimicError(f"confidence is {self.confidence}; it lies between 0 and 1")
        if self.resamples < 1:
            raise SimicError(f"resamples are {self.resamples}; take at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure of the scores at hand, and the interval it would fall into with others."""

    value: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether the interval lies on one side of ``value``."""
        return self.low > value or self.high < value


def estimate_iqm(scores: ArrayLike, resampling: Resampling | None = None) -> Estimate:
    """Estimates the interquartile mean.

    For the interquartile mean of paired differences hand in the differences.

    Args:
        scores: [runs] or [runs, tasks].
        resampling: 10,000 resamples and 95 % if not given.

    Raises:
        SimicError: If there are no scores, or one is not finite.
    """
    resampling = resampling or Resampling()
    known = read_scores(scores)
    means = np.concatenate([trimmed_means(drawn) for drawn in _resamples(known, resampling)])
    return _interval(trimmed_means(known[np.newaxis])[0], means, resampling)


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
        resampling: 10,000 resamples and 95 % if not given.
        paired: Whether the n-th runs of both arms met the same seed. Then they are drawn
            together; otherwise each arm is resampled by itself, as Agarwal et al. do.

    Raises:
        SimicError: If scores are missing, not finite, of different tasks, or paired
            without being equally many.
    """
    resampling = resampling or Resampling()
    mine, theirs = read_scores(first, "the first arm's"), read_scores(second, "the second arm's")
    if paired:
        check_paired(mine, theirs)
    generator, chances = np.random.default_rng(resampling.seed), []
    for won in wins(mine, theirs):
        drawn = _counts(generator, len(mine), resampling)
        against = drawn if paired else _counts(generator, len(theirs), resampling)
        chances.append(((drawn @ won) * against).sum(axis=-1) / won.size)
    return _interval(probability_of_improvement(mine, theirs), np.mean(chances, axis=0), resampling)


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


def _resamples(
    scores: NDArray[np.float64], resampling: Resampling
) -> Iterator[NDArray[np.float64]]:
    """Yields blocks of resamples, [block, runs, tasks]."""
    generator, (runs, tasks) = np.random.default_rng(resampling.seed), scores.shape
    block = max(BLOCK // scores.size, 1)
    for start in range(0, resampling.resamples, block):
        count = min(block, resampling.resamples - start)
        drawn = generator.integers(runs, size=(count, runs, tasks))
        yield scores[drawn, np.arange(tasks)]


def _counts(
    generator: np.random.Generator, runs: int, resampling: Resampling
) -> NDArray[np.float64]:
    """Returns how often each resample takes each run, [resamples, runs]."""
    even = np.full(runs, 1 / runs)
    return generator.multinomial(runs, even, size=resampling.resamples).astype(np.float64)


def _interval(value: float, resampled: NDArray[np.float64], resampling: Resampling) -> Estimate:
    tail = (1 - resampling.confidence) / 2
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Estimate(value=float(value), low=float(low), high=float(high))
