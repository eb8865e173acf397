"""Intervals of a mean and of a win rate that hold at few pairs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from esper_simic.errors import SimicError
from esper_simic.evaluation.statistics.bootstrap import Estimate, check_paired
from esper_simic.evaluation.statistics.scores import read_scores

CONFIDENCE = 0.95


def estimate_mean(scores: ArrayLike, confidence: float = CONFIDENCE) -> Estimate:
    """Estimates the mean; for the mean of paired differences pass the differences.

    Each bound is the wider of two: Student's, which holds for heavy tails, and Hall's, which
    corrects Student's t for skewness (Hall 1992, "On the removal of skewness by
    transformation"). Percentile bootstrap intervals are too narrow for few runs;
    ``tests/benchmarks/false_verdicts.txt`` compares them by simulation. With one run per
    task the interval is infinite.

    Args:
        scores: [runs] or [runs, tasks]; tasks have equal weight, and runs vary within them.
        confidence: How often the interval covers the true mean.

    Raises:
        SimicError: If there are no scores, one is not finite, or the confidence is not
            between 0 and 1.
    """
    _check(confidence)
    known = read_scores(scores)
    mean = float(known.mean())
    if len(known) < 2:
        return Estimate(value=mean, low=-math.inf, high=math.inf)
    error, skewness, freedom = _moments(known)
    # Rounding leaves equal scores a spread of some 1e-16 times their size.
    if error <= 1e-12 * float(np.abs(known).max()):
        return Estimate(value=mean, low=mean, high=mean)
    quantile = float(stats.t.ppf((1 + confidence) / 2, freedom))
    bounds = [(-quantile, quantile)]
    if len(known) > 2:
        bounds.append((_untransform(-quantile, skewness), _untransform(quantile, skewness)))
    # t = (mean - truth) / error lies between the bounds, so the truth between these.
    high = mean - min(low for low, _ in bounds) * error
    low = mean - max(high for _, high in bounds) * error
    return Estimate(value=mean, low=low, high=high)


def estimate_win_rate(
    first: ArrayLike, second: ArrayLike, confidence: float = CONFIDENCE
) -> Estimate:
    """Estimates the share of pairs that the first arm wins, ties counting half.

    The interval is Wilson's score interval of a proportion.

    Args:
        first: [runs] or [runs, tasks].
        second: The same shape; the n-th runs of both used the same seed.
        confidence: How often the interval covers the true share.

    Raises:
        SimicError: If scores are missing, not finite or not paired, or the confidence is
            not between 0 and 1.
    """
    _check(confidence)
    mine, theirs = read_scores(first, "the first arm's"), read_scores(second, "the second arm's")
    check_paired(mine, theirs)
    share = float(np.mean((mine > theirs) + 0.5 * (mine == theirs)))
    pairs = mine.size
    z = float(stats.norm.ppf((1 + confidence) / 2))
    # Wilson 1927: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    middle = (share + z**2 / (2 * pairs)) / (1 + z**2 / pairs)
    half = z * math.sqrt(share * (1 - share) / pairs + z**2 / (4 * pairs**2)) / (1 + z**2 / pairs)
    return Estimate(value=share, low=max(0.0, middle - half), high=min(1.0, middle + half))


def _moments(scores: NDArray[np.float64]) -> tuple[float, float, float]:
    """Returns the mean's standard error, its skewness, and the degrees of freedom.

    Args:
        scores: [runs, tasks], two runs at least.
    """
    runs, tasks = scores.shape
    centred = scores - scores.mean(axis=0)
    # Variance of each task's share in the mean, [tasks].
    variances = (centred**2).sum(axis=0) / (runs - 1) / runs / tasks**2
    total = float(variances.sum())
    if total == 0 or runs < 3:
        return math.sqrt(total), 0.0, runs - 1.0
    # Third cumulant of the mean, from the unbiased k-statistic of each task.
    third = (centred**3).sum(axis=0) * runs / (runs - 1) / (runs - 2)
    skewness = float(third.sum()) / runs**2 / tasks**3 / total**1.5
    # Welch and Satterthwaite; runs - 1 for a single task.
    freedom = total**2 / float((variances**2).sum()) * (runs - 1)
    return math.sqrt(total), skewness, freedom


def _untransform(bound: float, skewness: float) -> float:
    """Inverts Hall's g(t) = t + k t^2 / 3 + k^2 t^3 / 27 + k / 6 with k the mean's skewness."""
    if abs(skewness) < 1e-9:
        return bound
    return 3 / skewness * (float(np.cbrt(1 + skewness * (bound - skewness / 6))) - 1)


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise SimicError(f"confidence is {confidence}; it lies between 0 and 1")
