"""When the updates of a policy are not healthy.

The trainer reports a value beyond one of these limits as an anomaly at once. Readers of its log
also have a warning before the limit, or wait for several updates in a row.
"""

from __future__ import annotations

from esper_leyline.actions import least_entropy
from esper_leyline.health.gauge import Limits

LARGEST_GRADIENT_NORM = 100.0
"""Norm of the policy's gradient before clipping, at most."""

LEAST_GRADIENT_KEPT = 0.1
"""Share of the gradient norm that clipping leaves, at least."""

LEAST_EXPLAINED_VARIANCE = 0.0
"""Explained variance of the returns, at least: their mean as the prediction explains 0."""

LEAST_ENTROPY = 0.05
"""What ``entropy_above_floor`` returns for a head, at least."""

GRADIENT_LIMITS = Limits(warning=30.0, bad=LARGEST_GRADIENT_NORM, margin=5.0)
"""Limits of the gradient norm before clipping."""

CLIPPING_LIMITS = Limits(warning=0.3, bad=LEAST_GRADIENT_KEPT, below=True, margin=0.1, patience=3)
"""Limits of the share of the gradient norm that clipping leaves."""

CRITIC_LIMITS = Limits(
    warning=LEAST_EXPLAINED_VARIANCE, bad=-0.5, below=True, margin=0.05, patience=5
)
"""Limits of the explained variance of the returns."""

ENTROPY_LIMITS = Limits(warning=0.15, bad=LEAST_ENTROPY, below=True, margin=0.03, patience=2)
"""Limits of ``entropy_above_floor``, for the head with the least."""


def entropy_above_floor(entropy: float, floor: float, size: int) -> float:
    """Returns where the entropy of a head lies between its least one, 0, and a uniform choice, 1.

    Args:
        entropy: Mean entropy of the head, as a share of that of a uniform choice.
        floor: Smallest probability of an open choice.
        size: Number of choices of the head.
    """
    least = _entropy_at_floor(floor, size)
    return (entropy - least) / (1.0 - least)


def collapsed_entropy(floor: float, size: int) -> float:
    """Returns the entropy below which a head has collapsed: ``LEAST_ENTROPY`` above its floor.

    Args:
        floor: Smallest probability of an open choice.
        size: Number of choices of the head.
    """
    least = _entropy_at_floor(floor, size)
    return least + LEAST_ENTROPY * (1.0 - least)


def _entropy_at_floor(floor: float, size: int) -> float:
    """Returns the least entropy that a floor allows, whatever the number of open choices."""
    return max(least_entropy(floor, choices) for choices in range(2, max(size, 2) + 1))
