"""CartPole-v1 without velocities, learnt by Simic's PPO and Tamiyo's policy. Run by hand:

    uv run python tests/benchmarks/cartpole_without_velocity.py [SEED ...]

Position and angle alone do not say where the pole is going, so a policy has to remember. RL
Baselines3 Zoo publishes 500 ± 0 for its PPO with an LSTM after 100,000 steps (CartPoleNoVel-v1,
ppo_lstm). Training stops with the round in which that many steps are reached; then 100 unseen
episodes are played greedily.
"""

from __future__ import annotations

import statistics
import sys
import time

import gymnasium
import torch
from external_tasks import (
    ExternalEnvironment,
    ExternalPolicy,
    Outcome,
    Pairs,
    external_policy,
    greedy_returns,
    task_reward,
)

from esper_leyline import FactoredAction, Op, PPOConfig
from esper_simic import PPORunner

BUDGET, LENGTH, ENVIRONMENTS, SIZE = 100_000, 500, 8, 64
PPO = PPOConfig(
    epochs=10,
    minibatches=4,
    gamma=0.99,
    gae_lambda=0.95,
    learning_rate=1e-3,
    learning_rate_final=1e-4,
    learning_rate_anneal_episodes=800,
    entropy_coefficient=0.0,
    max_grad_norm=1.0,
    target_kl=0.03,
    bootstrap_horizon=True,
)


class CartPole:
    """Gymnasium's task, shown without its velocities."""

    def __init__(self) -> None:
        self._env = gymnasium.make("CartPole-v1")

    def reset(self, seed: int) -> Pairs:
        state, _ = self._env.reset(seed=seed)
        return _seen(state)

    def step(self, action: FactoredAction) -> Outcome:
        state, reward, failed, _, _ = self._env.step(int(action.op is Op.ADVANCE))
        return Outcome(_seen(state), float(reward), failed)


def _seen(state) -> Pairs:
    """Position and angle as shares of their limits."""
    return ((float(state[0]) / 2.4, float(state[2]) / 0.21),)


def train(seed: int) -> tuple[ExternalPolicy, int]:
    world = ExternalEnvironment(CartPole, ENVIRONMENTS, LENGTH)
    policy = external_policy(world, SIZE, seed)
    trainer = PPORunner(world, policy, task_reward, PPO, rng_seed=seed)
    steps = 0
    while steps < BUDGET:
        last = trainer.learn(trainer.rounds_completed + 1).rounds[-1]
        steps += sum(last.ops.values())
        if last.round % 10 == 0:
            print(f"  round {last.round:>3}  {steps:>6} steps  return {last.mean_return:.0f}")
    return policy, steps


def main(seed: int) -> bool:
    started = time.perf_counter()
    policy, steps = train(seed)
    seconds = time.perf_counter() - started
    judge = ExternalEnvironment(CartPole, 100, LENGTH)
    returns = greedy_returns(judge, policy, range(10_000, 10_100))
    mean, spread = statistics.fmean(returns), statistics.pstdev(returns)
    print(
        f"seed {seed}  {steps} steps in {seconds:.0f} s  "
        f"100 unseen episodes, greedy: {mean:.1f} ± {spread:.1f}",
        flush=True,
    )
    return mean >= 0.99 * LENGTH


if __name__ == "__main__":
    torch.set_num_threads(1)
    solved = [main(int(argument)) for argument in sys.argv[1:] or ["1", "2", "3"]]
    print(f"solved: {sum(solved)} of {len(solved)} seeds")
    raise SystemExit(0 if all(solved) else 1)
