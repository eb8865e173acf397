"""The rewards of a policy, by mode and family."""

from esper_simic.rewards.recipes import REWARDS, ComposedReward, build_reward

__all__ = ["REWARDS", "ComposedReward", "build_reward"]
