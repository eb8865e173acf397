"""What a policy is paid for: one module a mode, chosen by configuration."""

from esper_simic.rewards.registry import REWARDS, build_reward
from esper_simic.rewards.shaped import ShapedReward

__all__ = ["REWARDS", "ShapedReward", "build_reward"]
