"""Does PPO learn on the default task, and does it beat chance? Run by hand:

    uv run python tests/benchmarks/ppo_learns.py [SEED ...]

For each run seed (1, 2 and 3 if none is given) it trains the mnist1d_blind preset and prints the
mean return of the first ten and of the last ten rounds, and beside them what a random
masked controller and the heuristic earn on the very hosts of those last ten rounds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import torch

from esper_kasmina import build_host
from esper_leyline import Controller, RoundSummary, TrainingConfig, override
from esper_simic import PPORunner, build_reward, run_controllers
from esper_tamiyo import HeuristicController, RandomMaskedController, RecurrentPolicy
from esper_tolaria import build_environment, find_preset, find_task

EDGE = 10


def mean_return(rounds: Sequence[RoundSummary]) -> float:
    return sum(each.mean_return for each in rounds) / len(rounds)


def mean_accuracy(rounds: Sequence[RoundSummary]) -> float:
    return sum(each.mean_accuracy or 0.0 for each in rounds) / len(rounds)


def train(environment, config: TrainingConfig) -> tuple[RoundSummary, ...]:
    torch.manual_seed(config.seed)
    policy = RecurrentPolicy(environment.spec, config.policy, critic=config.ppo.critic)
    reward = build_reward(config.reward, gamma=config.ppo.gamma)
    runner = PPORunner(environment, policy, reward, config.ppo, rng_seed=config.seed)
    return runner.learn(config.n_episodes).rounds


def control(
    environment, config: TrainingConfig, controllers: Sequence[Controller]
) -> tuple[RoundSummary, ...]:
    reward = build_reward(config.reward, gamma=config.ppo.gamma)
    first = config.n_episodes - EDGE + 1
    return run_controllers(
        environment, controllers, reward, rounds=EDGE, first_round=first, rng_seed=config.seed
    ).rounds


def compare(seed: int) -> bool:
    config = override(find_preset("mnist1d_blind"), {"seed": seed, "device": "cpu"})
    environment = build_environment(find_task(config.task).spec, config, build_host)
    try:
        started = time.perf_counter()
        rounds = train(environment, config)
        seconds = time.perf_counter() - started
        spec, hosts = environment.spec, range(config.n_envs)
        random = control(environment, config, [RandomMaskedController(spec) for _ in hosts])
        rules = control(environment, config, [HeuristicController(spec) for _ in hosts])
    finally:
        environment.close()
    first, last = rounds[:EDGE], rounds[-EDGE:]
    for name, arm in (
        (f"PPO, rounds 1-{EDGE}", first),
        (f"PPO, last {EDGE} rounds", last),
        ("random masked, same hosts", random),
        ("heuristic, same hosts", rules),
    ):
        print(
            f"seed {seed}  {name:<26} return {mean_return(arm):+.2f}  "
            f"accuracy {mean_accuracy(arm):.1f} %",
            flush=True,
        )
    print(f"seed {seed}  trained in {seconds:.0f} s", flush=True)
    return mean_return(last) > max(mean_return(first), mean_return(random))


if __name__ == "__main__":
    seeds = [int(argument) for argument in sys.argv[1:]] or [1, 2, 3]
    learned = [compare(seed) for seed in seeds]
    print(f"better than at first and than chance: {sum(learned)} of {len(learned)} seeds")
    raise SystemExit(0 if all(learned) else 1)
