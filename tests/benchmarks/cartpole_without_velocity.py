"""CartPole-v1 without velocities, learnt by ``VectorRunner``. Run by hand:

    uv run python tests/benchmarks/cartpole_without_velocity.py [SEED ...]

Position and angle alone do not say where the pole is going, so a policy has to remember. RL
Baselines3 Zoo publishes 500 ± 0 for its PPO with an LSTM after 100,000 steps (CartPoleNoVel-v1,
ppo_lstm). Training takes as many; then 100 unseen episodes are played greedily.
"""

from __future__ import annotations

import statistics
import sys
import time

import gymnasium
import numpy as np
import torch
from external_tasks import greedy_returns, policy_for, side_by_side
from gymnasium.wrappers import TransformObservation

from esper_leyline import PPOConfig
from esper_simic import MultiDiscretePolicy, VectorRound, VectorRunner

BUDGET, BEST, ENVIRONMENTS, STEPS, SIZE = 100_000, 500, 8, 256, 64
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
)


def make() -> gymnasium.Env:
    """Gymnasium's task, shown without its velocities: position and angle."""
    return TransformObservation(
        gymnasium.make("CartPole-v1"),
        lambda state: state[[0, 2]],
        gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32),
    )


def train(seed: int, budget: int = BUDGET) -> MultiDiscretePolicy:
    envs = side_by_side(make, ENVIRONMENTS)
    policy = policy_for(envs, SIZE, seed)
    runner = VectorRunner(envs, policy, PPO, steps=STEPS, rng_seed=seed)
    runner.learn(budget // (ENVIRONMENTS * STEPS), on_round=report)
    return policy


def report(done: VectorRound) -> None:
    if done.round % 10 == 0 and done.mean_return is not None:
        steps, earned = done.round * ENVIRONMENTS * STEPS, done.mean_return
        print(f"  round {done.round:>3}  {steps:>6} steps  return {earned:.0f}", flush=True)


def main(seed: int) -> bool:
    started = time.perf_counter()
    policy = train(seed)
    seconds = time.perf_counter() - started
    returns = greedy_returns(make, policy, range(10_000, 10_100))
    mean, spread = statistics.fmean(returns), statistics.pstdev(returns)
    print(
        f"seed {seed}  {BUDGET} steps at most in {seconds:.0f} s  "
        f"100 unseen episodes, greedy: {mean:.1f} ± {spread:.1f}",
        flush=True,
    )
    return mean >= 0.99 * BEST


if __name__ == "__main__":
    torch.set_num_threads(1)
    solved = [main(int(argument)) for argument in sys.argv[1:] or ["1", "2", "3"]]
    print(f"solved: {sum(solved)} of {len(solved)} seeds")
    raise SystemExit(0 if all(solved) else 1)
