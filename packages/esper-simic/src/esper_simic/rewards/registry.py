"""Which reward modes there are, and how one is built from a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from esper_leyline import RewardConfig, RewardFunction
from esper_simic.errors import SimicError
from esper_simic.rewards.shaped import ShapedReward


class RewardBuilder(Protocol):
    """Builds one mode's reward function."""

    def __call__(self, config: RewardConfig, *, gamma: float) -> RewardFunction:
        """Returns a reward function; ``gamma`` is the learner's discount."""


REWARDS: Mapping[tuple[str, str], RewardBuilder] = MappingProxyType(
    {("shaped", "contribution"): ShapedReward}
)
"""Every reward by its mode and family."""


def build_reward(config: RewardConfig, *, gamma: float) -> RewardFunction:
    """Builds the reward function that a configuration names.

    Args:
        config: Mode, family and weights.
        gamma: The learner's discount; shaping telescopes only under this one.

    Raises:
        SimicError: If there is no such mode in that family.
    """
    builder = REWARDS.get((config.mode, config.family))
    if builder is None:
        offered = ", ".join(f"mode '{mode}' with family '{family}'" for mode, family in REWARDS)
        raise SimicError(
            f"no reward of mode '{config.mode}' with family '{config.family}'; available: {offered}"
        )
    return builder(config, gamma=gamma)
