"""Intervals of a mean and of a win rate that hold at few pairs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from esper_leyline.estimates import CONFIDENCE, Estimate, interval_of_mean
from esper_simic.errors import SimicError
from esper_simic.evaluation.statistics.bootstrap import check_paired
from esper_simic.evaluation.statistics.scores import read_scores


def estimate_mean(scores: ArrayLike, confidence: float = CONFIDENCE) -> Estimate:
    """Estimates the mean; for the mean of paired differences pass the differences.

    By ``esper_leyline.estimates.interval_of_mean``. Percentile bootstrap intervals are too narrow
    for few runs; ``tests/benchmarks/false_verdicts.txt`` compares them by simulation.

    Args:
        scores: [runs] or [runs, tasks]; tasks have equal weight, and runs vary within them.
        confidence: How often the interval covers the true mean.

    Raises:
        SimicError: If there are no scores, one is not finite, or the confidence is not
            between 0 and 1.
    """
    _check(confidence)
    groups: list[list[float]] = read_scores(scores).T.tolist()
    return interval_of_mean(groups, confidence)


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


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise SimicError(f"confidence is {confidence}; it lies between 0 and 1")
