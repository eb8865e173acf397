"""A learning rate that follows how far the steps before moved the policy."""

from __future__ import annotations

FACTOR = 1.5
"""What the scale is divided or multiplied by at one step."""

LEAST_SCALE = 0.01
"""Smallest part of the configured rate that is left."""


def adapt_scale(scale: float, kl: float, target: float) -> float:
    """Returns the scale of the learning rate for the next step.

    The scale is divided by 1.5 if the policy is more than twice the target away from the one
    that acted, and multiplied by 1.5 if it is less than half of it away, as in rsl_rl (after
    Schulman et al. 2017, eq. 8, where the rule sets a penalty). It stays between 0.01 and 1, so
    the configured rate is the largest.

    Args:
        scale: That of the step before.
        kl: KL divergence of the policy from the one that acted, in nats. 0 says nothing, as
            before the first step of an update, and leaves the scale as it is; so does NaN.
        target: The KL divergence to aim at, positive.
    """
    if kl > 2 * target:
        return max(scale / FACTOR, LEAST_SCALE)
    if 0 < kl < target / 2:
        return min(scale * FACTOR, 1.0)
    return scale
