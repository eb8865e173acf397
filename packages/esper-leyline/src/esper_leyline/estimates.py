"""A mean and its interval, which holds for few values: the same in training and in every screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from esper_leyline.wire import Contract, Float

CONFIDENCE = 0.95
"""How often an interval covers the true value, where nothing else is said."""


class Estimate(Contract):
    """A figure and its confidence interval."""

    value: Float
    low: Float
    high: Float

    def excludes(self, value: float) -> bool:
        """Whether ``value`` lies outside the interval."""
        return self.low > value or self.high < value


def interval_of_mean(groups: Sequence[Sequence[float]], confidence: float = CONFIDENCE) -> Estimate:
    """Estimates the mean of one or several groups, which have equal weight.

    Each bound is the wider of two: Student's, which holds for heavy tails, and Hall's, which
    corrects Student's t for skewness (Hall 1992, "On the removal of skewness by
    transformation"). With one value in each group the interval is infinite.

    Args:
        groups: Finite values, in each group the same number, one at least.
        confidence: How often the interval covers the true mean, between 0 and 1.
    """
    means = [_mean(group) for group in groups]
    mean, runs = _mean(means), len(groups[0])
    centred = [[value - m for value in group] for group, m in zip(groups, means, strict=True)]
    spread = max(abs(value) for group in centred for value in group)
    if runs < 2 or not math.isfinite(spread):
        return Estimate(value=mean, low=-math.inf, high=math.inf)
    # Rounding leaves equal values a spread of some 1e-16 times their size.
    if spread <= 1e-12 * max(abs(value) for group in groups for value in group):
        return Estimate(value=mean, low=mean, high=mean)
    scaled = [[value / spread for value in group] for group in centred]
    error, skewness, freedom = _moments(scaled)
    quantile = student_quantile(confidence, freedom)
    bounds = [(-quantile, quantile)]
    if runs > 2:
        bounds.append((_untransform(-quantile, skewness), _untransform(quantile, skewness)))
    # t = (mean - truth) / error lies between the bounds, so the truth between these.
    high = mean - min(low for low, _ in bounds) * error * spread
    low = mean - max(high for _, high in bounds) * error * spread
    return Estimate(value=mean, low=low, high=high)


@lru_cache(maxsize=1024)
def student_quantile(confidence: float, freedom: float) -> float:
    """Returns the size that Student's t stays below with probability ``confidence``.

    Args:
        confidence: Between 0 and 1.
        freedom: Degrees of freedom, above 0; they need not be whole.
    """
    outside = 1 - confidence
    low, high = 0.0, 1.0
    while _share_beyond(high, freedom) > outside:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        if _share_beyond(middle, freedom) > outside:
            low = middle
        else:
            high = middle
    return high


def _mean(values: Sequence[float]) -> float:
    return math.fsum(value / len(values) for value in values)


def _moments(centred: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Returns the mean's standard error, its skewness, and the degrees of freedom.

    Args:
        centred: The values of each group minus its mean, two at least.
    """
    groups, runs = len(centred), len(centred[0])
    # Variance of each group's share in the mean.
    variances = [
        math.fsum(value * value for value in group) / (runs - 1) / runs / groups**2
        for group in centred
    ]
    total = math.fsum(variances)
    if runs < 3:
        return math.sqrt(total), 0.0, runs - 1.0
    # Welch and Satterthwaite; runs - 1 for a single group.
    freedom = (runs - 1) / math.fsum((variance / total) ** 2 for variance in variances)
    # Third cumulant of the mean, from the unbiased k-statistic of each group.
    cubes = math.fsum(value**3 for group in centred for value in group)
    third = cubes * runs / (runs - 1) / (runs - 2)
    return math.sqrt(total), third / runs**2 / groups**3 / total**1.5, freedom


def _untransform(bound: float, skewness: float) -> float:
    """Inverts Hall's g(t) = t + k t^2 / 3 + k^2 t^3 / 27 + k / 6 with k the mean's skewness."""
    if abs(skewness) < 1e-9:
        return bound
    return 3 / skewness * (math.cbrt(1 + skewness * (bound - skewness / 6)) - 1)


def _share_beyond(size: float, freedom: float) -> float:
    """Returns how likely Student's t is above ``size`` or below its negative."""
    square = size * size
    return _incomplete_beta(
        freedom / (freedom + square), square / (freedom + square), freedom / 2, 0.5
    )


def _incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """Returns the regularized incomplete beta function at ``x``.

    By the continued fraction 26.5.8 of Abramowitz and Stegun 1964, "Handbook of Mathematical
    Functions".

    Args:
        x: Above 0.
        rest: 1 - ``x``, above 0.
        a: First parameter.
        b: Second parameter.
    """
    if x > (a + 1) / (a + b + 2):  # where the fraction of the other side converges faster
        return 1 - _incomplete_beta(rest, x, b, a)
    fraction = 1.0
    for m in range(20 + 3 * math.isqrt(int(a + b) + 1), 0, -1):
        odd = -(a + m) * (a + b + m) * x / (a + 2 * m) / (a + 2 * m + 1)
        even = m * (b - m) * x / (a + 2 * m - 1) / (a + 2 * m)
        fraction = 1 + even / (1 + odd / fraction)
    fraction = 1 - (a + b) * x / (a + 1) / fraction
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(logarithm + a * math.log(x) + b * math.log(rest)) / a / fraction
