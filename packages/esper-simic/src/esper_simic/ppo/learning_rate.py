"""A learning rate that follows the KL divergence."""

from __future__ import annotations

FACTOR = 1.5
"""Factor by which the scale changes in one step."""

LEAST_SCALE = 0.01
"""Smallest scale of the configured rate."""


def adapt_scale(scale: float, kl: float, target: float) -> float:
    """Returns the scale of the learning rate for the next step.

    The scale is divided by 1.5 if the KL divergence is more than twice the target, and multiplied
    by 1.5 if it is less than half of it, as in rsl_rl (after Schulman et al. 2017, eq. 8, where
    the rule sets a penalty). It stays between 0.01 and 1, so the configured rate is the largest.

    Args:
        scale: The scale of the last step.
        kl: KL divergence of the policy from the reference policy, in nats. The scale does not
            change at 0, which is the value before the first step of an update, or at NaN.
        target: The KL divergence to aim at, positive.
    """
    if kl > 2 * target:
        return max(scale / FACTOR, LEAST_SCALE)
    if 0 < kl < target / 2:
        return min(scale * FACTOR, 1.0)
    return scale
