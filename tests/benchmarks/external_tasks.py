"""What the benchmarks on tasks of others share: a policy without memory, and greedy episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from esper_leyline import Observation
from esper_simic import MultiDiscretePolicy


class MemorylessPolicy(MultiDiscretePolicy):
    """The same network without its memory: the state is zero before every step."""

    def act(self, observation, state, *, generator, greedy=False):
        zeros = self.initial_state(observation.features.shape[0])
        return super().act(observation, zeros, generator=generator, greedy=greedy)

    def evaluate(self, observation, actions, state, starts):
        return super().evaluate(observation, actions, state, torch.ones_like(starts))


def side_by_side(make: Callable[[], gymnasium.Env], count: int) -> SyncVectorEnv:
    """Returns a vector environment that resets in the step in which an episode ends."""
    return SyncVectorEnv([make] * count, autoreset_mode=AutoresetMode.SAME_STEP)


def policy_for(
    envs: SyncVectorEnv, hidden: int, seed: int, *, memory: bool = True
) -> MultiDiscretePolicy:
    torch.manual_seed(seed)
    return (MultiDiscretePolicy if memory else MemorylessPolicy).of(envs, hidden=hidden)


def greedy_returns(
    make: Callable[[], gymnasium.Env], policy: MultiDiscretePolicy, seeds: Sequence[int]
) -> list[float]:
    """Plays one episode a seed, the most probable action at every step; all choices are open."""
    envs = side_by_side(make, len(seeds))
    seen, _ = envs.reset(seed=list(seeds))
    state, going_on = policy.initial_state(len(seeds)), np.ones(len(seeds), dtype=bool)
    earned = np.zeros(len(seeds))
    while going_on.any():
        decision = policy.act(_open(policy, seen), state, generator=torch.Generator(), greedy=True)
        state = decision.state
        seen, rewards, terminated, truncated, _ = envs.step(decision.actions[:, 0].numpy())
        earned += rewards * going_on
        going_on &= ~(terminated | truncated)
    return earned.tolist()


def _open(policy: MultiDiscretePolicy, seen: np.ndarray) -> Observation:
    return Observation(
        features=torch.from_numpy(np.asarray(seen, dtype=np.float32)),
        blueprints=torch.zeros(len(seen), 0, dtype=torch.int64),
        masks={
            name: torch.ones(len(seen), count, dtype=torch.bool)
            for name, count in zip(policy.heads, policy.choices, strict=True)
        },
    )
