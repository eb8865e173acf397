"""A policy learns a masked recall task with esper-simic alone. Prints what it earned.

The first observation shows a cue for two heads, of two and three choices. Three steps later both
are asked for; before that only choice 0 is open. Each right head earns 0.5, and guessing earns
about 0.42. The environment behaves as one of ``gymnasium.vector``, without importing it.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from esper_leyline import PPOConfig
from esper_simic import MultiDiscretePolicy, VectorRunner

CHOICES = np.array([2, 3])
LENGTH = 4


class MaskedRecall:
    """Episodes side by side, reset on the step after their end."""

    single_observation_space = SimpleNamespace(shape=(5,))
    single_action_space = SimpleNamespace(nvec=CHOICES)

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": "NEXT_STEP"}

    def reset(self, *, seed):
        self.random = np.random.default_rng(seed)
        return self.start()

    def start(self):
        self.taken = 0
        self.cue = self.random.integers(CHOICES, size=(self.num_envs, 2))
        seen = np.zeros((self.num_envs, 5), np.float32)
        rows = np.arange(self.num_envs)
        seen[rows, self.cue[:, 0]] = seen[rows, 2 + self.cue[:, 1]] = 1
        return seen, self.info()

    def info(self):
        opened = [1, 1, 1, 1, 1] if self.taken == LENGTH - 1 else [1, 0, 1, 0, 0]
        return {"action_mask": np.tile(opened, (self.num_envs, 1))}

    def step(self, actions):
        none, false = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        if self.taken == LENGTH:
            seen, info = self.start()
            return seen, none, false, false, info
        self.taken += 1
        over = self.taken == LENGTH
        rewards = (actions == self.cue).mean(axis=1) if over else none
        return np.zeros((self.num_envs, 5), np.float32), rewards, false | over, false, self.info()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    envs = MaskedRecall(64)
    policy = MultiDiscretePolicy.of(envs)
    config = PPOConfig(epochs=4, learning_rate=3e-3, entropy_coefficient=0.01)
    last = VectorRunner(envs, policy, config, steps=20).learn(60)[-1]
    print(f"{'learnt' if last.mean_return > 0.9 else 'not learnt'}: {last.mean_return:.2f} of 1")
