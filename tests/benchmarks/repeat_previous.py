"""POPGym's RepeatPrevious-Easy, learnt by Simic's PPO and Tamiyo's policy. Run by hand:

    uv run python tests/benchmarks/repeat_previous.py [SEED ...]

A shuffled deck of 52 cards is dealt one by one; the answer to each is the suit of the card four
before it, worth 1/48 if right and -1/48 if wrong (Morad et al. 2023). A perfect memory earns 1.
Without one the best is a guess in four, which earns -0.5. The suit is answered by the slot; WAIT
is always open and always wrong.

The last line of each seed is 100 unseen episodes, played greedily, with and without memory.
"""

from __future__ import annotations

import random
import statistics
import sys
import time

import torch
from external_tasks import (
    ExternalEnvironment,
    Outcome,
    Pairs,
    external_policy,
    greedy_returns,
    task_reward,
)

from esper_leyline import FactoredAction, Op, PPOConfig
from esper_simic import PPORunner

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


class RepeatPrevious:
    """One deck; after the last card there is nothing more to see."""

    def reset(self, seed: int) -> Pairs:
        self._deck = [suit for suit in range(SUITS) for _ in range(CARDS // SUITS)]
        random.Random(seed).shuffle(self._deck)
        self._dealt = 1
        return _shown(self._deck[0])

    def step(self, action: FactoredAction) -> Outcome:
        reward = 0.0
        if self._dealt > DELAY:
            wanted = self._deck[self._dealt - 1 - DELAY]
            right = action.op is Op.ADVANCE and action.slot == wanted
            reward = (1.0 if right else -1.0) / (CARDS - DELAY)
        seen = _shown(self._deck[self._dealt]) if self._dealt < CARDS else _shown(None)
        self._dealt += 1
        return Outcome(seen, reward)


def _shown(suit: int | None) -> Pairs:
    hot = [float(suit == each) for each in range(SUITS)]
    return ((hot[0], hot[1]), (hot[2], hot[3]))


def train(seed: int, *, memory: bool, rounds: int) -> float:
    world = ExternalEnvironment(RepeatPrevious, ENVIRONMENTS, CARDS, slots=SUITS)
    policy = external_policy(world, SIZE, seed, memory=memory)
    trainer = PPORunner(world, policy, task_reward, PPO, rng_seed=seed)
    for number in range(25, rounds + 1, 25):
        last = trainer.learn(number).rounds[-1]
        print(f"  round {number:>3}  return {last.mean_return:+.2f}", flush=True)
    judge = ExternalEnvironment(RepeatPrevious, 100, CARDS, slots=SUITS)
    return statistics.fmean(greedy_returns(judge, policy, range(10_000, 10_100)))


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
