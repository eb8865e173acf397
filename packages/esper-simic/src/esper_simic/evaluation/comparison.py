"""Two arms on the same seeds: by how much one is better, and whether that can be said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from esper_simic.evaluation.bootstrap import (
    Estimate,
    Resampling,
    check_paired,
    estimate_iqm,
)
from esper_simic.evaluation.intervals import estimate_mean, estimate_win_rate
from esper_simic.evaluation.scores import read_scores

LEAST_PAIRS = 12
"""Pairs that a verdict takes.

Where an arm is better on a quarter of all hosts alone, n hosts hold none of them with
probability 0.75^n: 18 % of 6, 10 % of 8, 3 % of 12. No interval can know what it did not see.
"""


class Verdict(StrEnum):
    """What a comparison says of its first arm."""

    BETTER = "better"
    WORSE = "worse"
    TIED = "tied"
    """Every pair of scores is equal."""
    UNDECIDED = "undecided"
    """The interval holds zero, or there are too few pairs to say anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two arms, run for run.

    Attributes:
        first: Name of the arm that is judged.
        second: Name of the arm it is judged against.
        pairs: Pairs of scores, all tasks together.
        first_mean: Mean of the first arm.
        second_mean: The same of the second.
        difference: Mean of the paired differences, first minus second; it decides.
        iqm_difference: Interquartile mean of the paired differences. It leaves out the
            quarter of pairs with the largest differences and that with the smallest.
        win_rate: Share of pairs in which the first is higher, ties counting half.
        confidence: What the intervals cover.
        tied: Whether every difference is zero.
    """

    first: str
    second: str
    pairs: int
    first_mean: Estimate
    second_mean: Estimate
    difference: Estimate
    iqm_difference: Estimate
    win_rate: Estimate
    confidence: float
    tied: bool

    @property
    def least_pairs(self) -> int:
        """Pairs below which there is no verdict: 12, or more for more confidence.

        Were both arms equally good, n differences would share a sign with probability
        2 / 2^n, which has to be less than what the interval leaves out.
        """
        return max(LEAST_PAIRS, math.ceil(1 - math.log2(1 - self.confidence)))

    @property
    def verdict(self) -> Verdict:
        """Whether the first arm is better, by the interval of the paired differences."""
        if self.tied:
            return Verdict.TIED
        if self.pairs < self.least_pairs or not self.difference.excludes(0.0):
            return Verdict.UNDECIDED
        return Verdict.BETTER if self.difference.low > 0 else Verdict.WORSE


def compare(
    first: ArrayLike,
    second: ArrayLike,
    *,
    names: tuple[str, str] = ("first", "second"),
    resampling: Resampling | None = None,
) -> Comparison:
    """Compares two arms whose n-th runs met the same seed.

    Args:
        first: [runs] or [runs, tasks], higher being better (hand in costs negated).
        second: The same shape.
        names: What the arms are called.
        resampling: The confidence of all intervals, and how those of interquartile means
            are drawn; 95 % and 10,000 resamples if not given.

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
    return Comparison(
        first=names[0],
        second=names[1],
        pairs=differences.size,
        first_mean=estimate_mean(mine, resampling.confidence),
        second_mean=estimate_mean(theirs, resampling.confidence),
        difference=estimate_mean(differences, resampling.confidence),
        iqm_difference=estimate_iqm(differences, resampling),
        win_rate=estimate_win_rate(mine, theirs, resampling.confidence),
        confidence=resampling.confidence,
        tied=not np.any(differences),
    )
