"""A memory task over three heads, learnt by Simic's PPO and Tamiyo's policy. Run by hand:

    uv run python tests/benchmarks/three_head_recall.py [SEED ...]

The first observation names an op, a slot and a speed; the last step asks for all three and pays a
third for each that is right, so the optimum is 1. Two ops are asked for, two of three slots are
open and there are four speeds, and which are open says nothing of the cue: without memory the best
is (1/2 + 1/2 + 1/4) / 3, about 0.42.

Most of an episode's decision lies in heads that are judged by one shared reward, and the op reads
heads that are not paid for. Each seed ends with the mean return of its last ten rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from external_tasks import ExternalEnvironment, Outcome, Pairs, external_policy, task_reward

from esper_leyline import FactoredAction, Op, PPOConfig, SeedReport, StepReport
from esper_leyline.actions import ALPHA_SPEED_TICKS
from esper_simic import PPORunner

OPS = (Op.PRUNE, Op.SET_ALPHA_TARGET)
SLOTS, SPEEDS = 3, len(ALPHA_SPEED_TICKS)
WITHOUT_MEMORY = (1 / len(OPS) + 1 / (SLOTS - 1) + 1 / SPEEDS) / 3
LENGTH, ENVIRONMENTS, SIZE, ROUNDS = 4, 32, 32, 220
LAST, STRIDE = 10, 20
LEAST = 0.93
"""What the mean of three seeds has to reach. It was 0.89 when the KL divergence of whole decisions
stopped the passes of a round."""
PPO = PPOConfig(epochs=10, learning_rate=3e-3, entropy_coefficient=0.01, target_kl=0.1)


class ThreeHeadRecall:
    """One cue; everything follows from the seed."""

    def reset(self, seed: int) -> Pairs:
        self._cue, self._taken = cue_of(seed), 0
        hot = [
            float(chosen == each)
            for chosen, count in zip(self._cue, (len(OPS), SLOTS, SPEEDS), strict=True)
            for each in range(count)
        ]
        return _in_pairs(hot)

    def step(self, action: FactoredAction) -> Outcome:
        self._taken += 1
        reward = 0.0
        if self._taken == LENGTH and action.op in OPS:
            answer = (OPS.index(action.op), action.slot, action.alpha_speed)
            right = [given == wanted for given, wanted in zip(answer, self._cue, strict=True)]
            reward = sum(right) / len(right)
        return Outcome(_in_pairs([0.0] * (len(OPS) + SLOTS + SPEEDS)), reward)


@dataclass
class ThreeHeadEnvironment(ExternalEnvironment):
    """Opens the two ops, on all slots but one, at the last step alone."""

    def reset(self, rng_seeds: Sequence[int]) -> tuple[StepReport, ...]:
        self.reports = tuple(_opened(report) for report in super().reset(rng_seeds))
        return self.reports

    def step(self, actions: Sequence[FactoredAction]) -> tuple[StepReport, ...]:
        self.reports = tuple(_opened(report) for report in super().step(actions))
        return self.reports


def cue_of(seed: int) -> tuple[int, int, int]:
    """Returns the index of the op, the slot and the speed."""
    seed, op = divmod(seed, len(OPS))
    seed, slot = divmod(seed, SLOTS)
    return op, slot, seed % SPEEDS


def closed_slot(seed: int) -> int:
    """One of the slots that the cue did not name."""
    _, slot, _ = cue_of(seed)
    return (slot + 1 + seed // (len(OPS) * SLOTS * SPEEDS) % (SLOTS - 1)) % SLOTS


def _opened(report: StepReport) -> StepReport:
    asks, closed = report.epoch == LENGTH - 1, closed_slot(report.rng_seed)
    seeds = tuple(
        SeedReport(slot=seed.slot, permitted=OPS if asks and index != closed else ())
        for index, seed in enumerate(report.seeds)
    )
    return replace(report, seeds=seeds)


def _in_pairs(numbers: Sequence[float]) -> Pairs:
    padded = [*numbers, 0.0]
    return tuple((padded[i], padded[i + 1]) for i in range(0, len(numbers), 2))


def make_trainer(seed: int, ppo: PPOConfig = PPO, *, memory: bool = True) -> PPORunner:
    world = ThreeHeadEnvironment(ThreeHeadRecall, ENVIRONMENTS, LENGTH, slots=SLOTS)
    policy = external_policy(world, SIZE, seed, memory=memory)
    return PPORunner(world, policy, task_reward, ppo, rng_seed=seed)


def last_return(trainer: PPORunner) -> float:
    return statistics.fmean(each.mean_return for each in trainer.rounds[-LAST:])


def main(seed: int) -> float:
    started = time.perf_counter()
    trainer = make_trainer(seed)
    returns = []
    for number in range(STRIDE, ROUNDS + 1, STRIDE):
        trainer.learn(number)
        returns.append(last_return(trainer))
    forgetful = make_trainer(seed, memory=False)
    forgetful.learn(ROUNDS // 2)
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
