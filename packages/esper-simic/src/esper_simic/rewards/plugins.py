"""Reward modes that other distributions add, by name."""

from __future__ import annotations

from collections.abc import Callable

from esper_leyline import Registry, RewardConfig, RewardFunction
from esper_leyline.registry import check_callable
from esper_simic.errors import SimicError

RewardFactory = Callable[[RewardConfig, float], RewardFunction]
"""Builds a reward function from the configuration and the learner's discount factor."""


def _check(_name: str, part: object) -> RewardFactory:
    return check_callable(
        part,
        "a class or function that takes a RewardConfig and gamma, and returns a RewardFunction",
    )


ADDED_REWARDS: Registry[RewardFactory] = Registry("reward mode", "esper.rewards", _check)
"""Reward modes of plugins, which declare them as entry points of ``esper.rewards``."""


def build_added(config: RewardConfig, gamma: float) -> RewardFunction:
    """Builds the reward function of a plugin's mode.

    Raises:
        SimicError: If the plugin does not build a reward function.
    """
    reward = ADDED_REWARDS.get(config.mode)(config, gamma)
    if not callable(reward) or not isinstance(getattr(reward, "requires", None), frozenset):
        raise SimicError(
            f"reward mode '{config.mode}' builds a {type(reward).__name__}; return a callable "
            "whose 'requires' is a frozenset of Measurement"
        )
    return reward
