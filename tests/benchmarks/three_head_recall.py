"""A memory task over three heads, learnt by ``VectorRunner``. Run by hand:

    uv run python tests/benchmarks/three_head_recall.py [SEED ...]

The first observation names a choice for each of three heads; the last step asks for all three and
pays a third for each that is right, so the optimum is 1. Two of two, two of three and four of four
choices are open then, and which are open says nothing of the cue: without memory the best is
(1/2 + 1/2 + 1/4) / 3, about 0.42. In all other steps only the first choice of a head is open.

All heads are judged by one shared reward. Each seed ends with the mean return of its last ten
rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence

import gymnasium
import numpy as np
import torch
from external_tasks import policy_for, side_by_side

from esper_leyline import PPOConfig
from esper_simic import VectorRound, VectorRunner

CHOICES = (2, 3, 4)
STARTS = np.array([0, 2, 5])
"""Index of the first choice of each head in a flat mask."""
WITHOUT_MEMORY = (1 / 2 + 1 / 2 + 1 / 4) / 3
LENGTH, ENVIRONMENTS, SIZE, ROUNDS = 4, 32, 32, 220
LAST, STRIDE = 10, 20
LEAST = 0.93
"""What the mean of three seeds has to reach."""
PPO = PPOConfig(epochs=10, learning_rate=3e-3, entropy_coefficient=0.01, target_kl=0.1)


class ThreeHeadRecall(gymnasium.Env):
    """Shows a cue, waits, and asks for it."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (sum(CHOICES),), np.float32)
    action_space = gymnasium.spaces.MultiDiscrete(CHOICES)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._cue = self.np_random.integers(CHOICES)
        # One of the two choices of the second head that the cue does not name.
        self._closed = int((self._cue[1] + self.np_random.integers(1, 3)) % CHOICES[1])
        self._taken = 0
        hot = np.zeros(sum(CHOICES), np.float32)
        hot[self._cue + STARTS] = 1.0
        return hot, self._info()

    def step(self, action):
        self._taken += 1
        ends = self._taken == LENGTH
        reward = float(np.mean(np.asarray(action) == self._cue)) if ends else 0.0
        return np.zeros(sum(CHOICES), np.float32), reward, ends, False, self._info()

    def _info(self):
        asks = self._taken == LENGTH - 1
        heads = [np.full(count, asks) for count in CHOICES]
        for head in heads:
            head[0] = True
        if asks:
            heads[1][self._closed] = False
        return {"action_mask": np.concatenate(heads)}


def make_runner(seed: int, ppo: PPOConfig = PPO, *, memory: bool = True) -> VectorRunner:
    envs = side_by_side(ThreeHeadRecall, ENVIRONMENTS)
    policy = policy_for(envs, SIZE, seed, memory=memory)
    return VectorRunner(envs, policy, ppo, steps=LENGTH, rng_seed=seed)


def last_return(rounds: Sequence[VectorRound]) -> float:
    return statistics.fmean(each.mean_return for each in rounds[-LAST:])


def main(seed: int) -> float:
    started = time.perf_counter()
    rounds = make_runner(seed).learn(ROUNDS)
    returns = [last_return(rounds[:number]) for number in range(STRIDE, ROUNDS + 1, STRIDE)]
    forgetful = make_runner(seed, memory=False).learn(ROUNDS // 2)
    print(f"  every {STRIDE} rounds  " + " ".join(f"{each:.2f}" for each in returns))
    print(
        f"seed {seed}  last {LAST} rounds of {ROUNDS}: {returns[-1]:.2f}, "
        f"without memory {last_return(forgetful):.2f} after {ROUNDS // 2}  "
        f"({time.perf_counter() - started:.0f} s)",
        flush=True,
    )
    return returns[-1]


if __name__ == "__main__":
    torch.set_num_threads(1)
    ends = [main(int(argument)) for argument in sys.argv[1:] or ["1", "2", "3"]]
    mean = statistics.fmean(ends)
    print(f"mean {mean:.2f}, at least {LEAST} wanted; without memory {WITHOUT_MEMORY:.2f} at best")
    raise SystemExit(0 if mean >= LEAST else 1)
