"""A masked recall task as a Gymnasium environment."""

from __future__ import annotations

import gymnasium
import numpy as np

CHOICES = (2, 3)
WITHOUT_MEMORY = 0.5
"""Mean return of the best guess: both heads have two open choices at the question."""


class MaskedRecall(gymnasium.Env):
    """Shows a cue for two heads, waits, and asks for it.

    The first observation is the cue, one-hot for each head, and a 1 marks the question. Before
    the question only choice 0 is open. At the question one wrong choice of the second head is
    closed. Each right head earns 0.5. Episodes have 3 to 6 steps.
    """

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (6,), np.float32)
    action_space = gymnasium.spaces.MultiDiscrete(CHOICES)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cue = self.np_random.integers(CHOICES)
        self.left = int(self.np_random.integers(2, 6))
        self.closed = int((self.cue[1] + self.np_random.integers(1, 3)) % 3)
        seen = np.zeros(6, np.float32)
        seen[self.cue[0]] = seen[2 + self.cue[1]] = 1.0
        return seen, self.info()

    def step(self, action):
        if self.left == 0:
            reward = 0.5 * float(np.sum(np.asarray(action) == self.cue))
            return np.zeros(6, np.float32), reward, True, False, self.info()
        self.left -= 1
        seen = np.zeros(6, np.float32)
        seen[5] = float(self.left == 0)
        return seen, 0.0, False, False, self.info()

    def info(self):
        mask = np.array([1, 0, 1, 0, 0], np.int8)
        if self.left == 0:
            mask[:] = 1
            mask[2 + self.closed] = 0
        return {"action_mask": mask}
