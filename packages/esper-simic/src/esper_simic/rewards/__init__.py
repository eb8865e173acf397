"""The rewards of a policy, by mode and family."""

from esper_simic.rewards.recipes import REWARDS, ComposedReward, build_reward, reward_modes

__all__ = ["REWARDS", "ComposedReward", "build_reward", "reward_modes"]
