"""What a policy is paid for: one module a mode, chosen by configuration."""

from esper_simic.rewards.composed import ComposedReward
from esper_simic.rewards.registry import REWARDS, build_reward

__all__ = ["REWARDS", "ComposedReward", "build_reward"]
