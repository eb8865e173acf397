"""Two arms on the same seeds: the difference, and whether it is enough for a verdict."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from esper_leyline.estimates import Estimate
from esper_leyline.wire import Contract
from esper_simic.evaluation.statistics.bootstrap import Resampling, check_paired, estimate_iqm
from esper_simic.evaluation.statistics.intervals import estimate_mean, estimate_win_rate
from esper_simic.evaluation.statistics.scores import read_scores

LEAST_PAIRS = 12
"""Pairs that a verdict needs.

Where an arm is better on a quarter of all hosts only, n hosts contain none of them with
probability 0.75^n: 18 % for 6, 10 % for 8, 3 % for 12. No interval accounts for hosts that
were not sampled.
"""


class Verdict(StrEnum):
    """The result of a comparison, for its first arm."""

    BETTER = "better"
    WORSE = "worse"
    TIED = "tied"
    """Every pair of scores is equal."""
    UNDECIDED = "undecided"
    """The interval contains zero, or there are too few pairs."""


class Comparison(Contract):
    """One arm compared with a baseline, run by run.

    Attributes:
        arm: Name of the arm that is judged.
        baseline: Name of the arm it is compared with.
        pairs: Pairs of scores, all tasks together.
        least_pairs: Pairs below which the verdict stays undecided.
        difference: Mean of the paired differences, arm minus baseline; it decides.
        iqm_difference: Interquartile mean of the paired differences. It leaves out the
            quarter of pairs with the largest differences and the quarter with the smallest.
        win_rate: Share of pairs in which the arm is higher, ties counting half.
        verdict: Whether the arm is better, by the interval of the mean difference.
    """

    arm: str
    baseline: str
    pairs: int
    least_pairs: int
    difference: Estimate
    iqm_difference: Estimate
    win_rate: Estimate
    verdict: Verdict


def compare(
    first: ArrayLike,
    second: ArrayLike,
    *,
    names: tuple[str, str] = ("first", "second"),
    resampling: Resampling | None = None,
) -> Comparison:
    """Compares the scores of two arms whose n-th runs used the same seed.

    Args:
        first: [runs] or [runs, tasks], higher being better (negate costs).
        second: The same shape; the baseline.
        names: Names of the arms.
        resampling: The confidence of all intervals, and how those of interquartile means
            are drawn; 95 % and 10,000 resamples by default.

    Raises:
        SimicError: If scores are missing, not finite, or not paired.
    """
    resampling = resampling or Resampling()
    mine, theirs = (
        read_scores(scores, f"{name}'s scores")
        for scores, name in zip((first, second), names, strict=True)
    )
    check_paired(mine, theirs)
    differences = mine - theirs
    mean = estimate_mean(differences, resampling.confidence)
    pairs, least = differences.size, least_pairs(resampling.confidence)
    return Comparison(
        arm=names[0],
        baseline=names[1],
        pairs=pairs,
        least_pairs=least,
        difference=mean,
        iqm_difference=estimate_iqm(differences, resampling),
        win_rate=estimate_win_rate(mine, theirs, resampling.confidence),
        verdict=_verdict(mean, pairs >= least, tied=not np.any(differences)),
    )


def least_pairs(confidence: float) -> int:
    """Returns how many pairs a verdict needs: 12, or more for a higher confidence.

    If both arms were equally good, n differences would all have the same sign with
    probability 2 / 2^n, which has to be below 1 - confidence.
    """
    return max(LEAST_PAIRS, math.ceil(1 - math.log2(1 - confidence)))


def _verdict(difference: Estimate, enough: bool, *, tied: bool) -> Verdict:
    if tied:
        return Verdict.TIED
    if not enough or not difference.excludes(0.0):
        return Verdict.UNDECIDED
    return Verdict.BETTER if difference.low > 0 else Verdict.WORSE
