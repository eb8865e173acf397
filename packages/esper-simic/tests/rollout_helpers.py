"""Plays rounds of a puzzle for tests."""

from __future__ import annotations

from dataclasses import fields, replace

import torch

from esper_leyline import NullTelemetry, PPOConfig
from esper_simic import (
    PPO,
    PolicyActor,
    ReturnScale,
    Rollout,
    RoundRecorder,
    collect_round,
    episode_seeds,
)

from .toy_environments import recall_reward

UNIT_SCALE = ReturnScale(mean=0.0, std=1.0, critic_scale=1.0, reward_scale=1.0)


RNG_SEED = 7


def config(**ppo) -> PPOConfig:
    return PPOConfig(**{"epochs": 3, "learning_rate": 3e-3, "entropy_coefficient": 0.01} | ppo)


def play(environment, policy, reward=recall_reward, *, seed: int = 3) -> Rollout:
    ppo = PPO(policy, PPOConfig())
    count = environment.environments
    recorder = RoundRecorder(NullTelemetry(), round_number=1, environments=count)
    collect_round(
        environment,
        PolicyActor(ppo, policy, rng_seed=seed),
        reward,
        recorder.step,
        recorder.watch,
        rng_seeds=episode_seeds(5, 1, count),
        should_stop=lambda: False,
    )
    return ppo.rollout()


def changed(rollout: Rollout, **facts) -> Rollout:
    return replace(rollout, **facts)


def permuted(rollout: Rollout, order: torch.Tensor) -> Rollout:
    observation = rollout.observation
    moved = {
        field.name: getattr(rollout, field.name)[:, order]
        for field in fields(rollout)
        if field.name not in ("observation", "state")
    }
    hidden, cell = rollout.state
    seen = replace(
        observation,
        features=observation.features[:, order],
        blueprints=observation.blueprints[:, order],
        masks={name: mask[:, order] for name, mask in observation.masks.items()},
    )
    return replace(rollout, observation=seen, state=(hidden[order], cell[order]), **moved)


def weights(policy) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in policy.parameters()])
