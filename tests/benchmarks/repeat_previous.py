"""POPGym's RepeatPrevious-Easy, learnt by ``VectorRunner``. Run by hand:

    uv run python tests/benchmarks/repeat_previous.py [SEED ...]

A shuffled deck of 52 cards is dealt one by one; the answer to each is the suit of the card four
before it, worth 1/48 if right and -1/48 if wrong (Morad et al. 2023). A perfect memory earns 1.
Without one the best is a guess in four, which earns -0.5.

The last line of each seed is 100 unseen episodes, played greedily, with and without memory.
"""

from __future__ import annotations

import statistics
import sys
import time

import gymnasium
import numpy as np
import torch
from external_tasks import greedy_returns, policy_for, side_by_side

from esper_leyline import PPOConfig
from esper_simic import VectorRound, VectorRunner

CARDS, SUITS, DELAY = 52, 4, 4
ENVIRONMENTS, SIZE, ROUNDS = 16, 64, 150
PPO = PPOConfig(
    epochs=8,
    minibatches=4,
    gamma=0.5,
    gae_lambda=0.8,
    learning_rate=2e-3,
    learning_rate_final=2e-4,
    learning_rate_anneal_episodes=ENVIRONMENTS * ROUNDS,
    entropy_coefficient=0.01,
    max_grad_norm=1.0,
    target_kl=0.1,
)


class RepeatPrevious(gymnasium.Env):
    """One deck; after the last card nothing is shown."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (SUITS,), np.float32)
    action_space = gymnasium.spaces.Discrete(SUITS)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._deck = self.np_random.permutation(np.repeat(np.arange(SUITS), CARDS // SUITS))
        self._dealt = 1
        return self._shown(), {}

    def step(self, action):
        reward = 0.0
        if self._dealt > DELAY:
            right = action == self._deck[self._dealt - 1 - DELAY]
            reward = (1.0 if right else -1.0) / (CARDS - DELAY)
        self._dealt += 1
        return self._shown(), reward, self._dealt > CARDS, False, {}

    def _shown(self):
        hot = np.zeros(SUITS, np.float32)
        if self._dealt <= CARDS:
            hot[self._deck[self._dealt - 1]] = 1.0
        return hot


def train(seed: int, *, memory: bool, rounds: int) -> float:
    envs = side_by_side(RepeatPrevious, ENVIRONMENTS)
    policy = policy_for(envs, SIZE, seed, memory=memory)
    VectorRunner(envs, policy, PPO, steps=CARDS, rng_seed=seed).learn(rounds, on_round=report)
    return statistics.fmean(greedy_returns(RepeatPrevious, policy, range(10_000, 10_100)))


def report(done: VectorRound) -> None:
    if done.round % 25 == 0:
        print(f"  round {done.round:>3}  return {done.mean_return:+.2f}", flush=True)


def main(seed: int) -> bool:
    started = time.perf_counter()
    with_memory = train(seed, memory=True, rounds=ROUNDS)
    without = train(seed, memory=False, rounds=50)
    print(
        f"seed {seed}  {ROUNDS * ENVIRONMENTS * CARDS} steps, 100 unseen episodes, greedy: "
        f"with memory {with_memory:+.2f}, without {without:+.2f}  "
        f"({time.perf_counter() - started:.0f} s)",
        flush=True,
    )
    return with_memory > 0.95


if __name__ == "__main__":
    torch.set_num_threads(1)
    solved = [main(int(argument)) for argument in sys.argv[1:] or ["1", "2", "3"]]
    print(f"solved: {sum(solved)} of {len(solved)} seeds")
    raise SystemExit(0 if all(solved) else 1)
