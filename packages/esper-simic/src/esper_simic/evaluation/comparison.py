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
    estimate_improvement,
    estimate_iqm,
)
from esper_simic.evaluation.scores import read_scores


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
        first_iqm: Interquartile mean of the first arm.
        second_iqm: The same of the second.
        difference: Interquartile mean of the paired differences, first minus second.
        improvement: Probability that a run of the first beats one of the second.
        confidence: What the intervals cover.
        tied: Whether every difference is zero.
    """

    first: str
    second: str
    pairs: int
    first_iqm: Estimate
    second_iqm: Estimate
    difference: Estimate
    improvement: Estimate
    confidence: float
    tied: bool

    @property
    def least_pairs(self) -> int:
        """Pairs below which not even differences of one sign all say anything.

        Were both arms equally good, n differences would share a sign with probability
        2 / 2^n; an interval drawn from so few is narrower than it should be.
        """
        return math.ceil(1 - math.log2(1 - self.confidence))

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
        resampling: 10,000 resamples and 95 % if not given.

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
        first_iqm=estimate_iqm(mine, resampling),
        second_iqm=estimate_iqm(theirs, resampling),
        difference=estimate_iqm(differences, resampling),
        improvement=estimate_improvement(mine, theirs, resampling),
        confidence=resampling.confidence,
        tied=not np.any(differences),
    )
