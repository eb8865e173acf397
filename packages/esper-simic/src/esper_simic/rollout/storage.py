"""The steps of a rollout as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esper_leyline import Observation
from esper_leyline.ports import PolicyState
from esper_simic.errors import SimicError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """T steps of N environments side by side.

    Attributes:
        observation: [T + 1, N, ...]; the last row follows the last step and is used for
            bootstrapping only. Features that are not used are zero.
        actions: [T, N, heads] int64.
        rewards: [T, N], 0 at invalid steps.
        valid: [T, N] bool, false at padding: steps between the end of an episode and the start
            of the next.
        starts: [T, N] bool, true at an episode's first step.
        terminated: [T, N] bool, true at a last step that ended the episode for good.
        truncated: [T, N] bool, true at a last step that a time limit caused.
        state: The recurrent state before the first step, [N, H] each.
    """

    observation: Observation
    actions: Tensor
    rewards: Tensor
    valid: Tensor
    starts: Tensor
    terminated: Tensor
    truncated: Tensor
    state: PolicyState

    @property
    def steps(self) -> int:
        """T."""
        return self.rewards.shape[0]

    @property
    def environments(self) -> int:
        """N."""
        return self.rewards.shape[1]

    @property
    def episodes(self) -> int:
        """Number of episodes that started."""
        return int(self.starts.sum())


class RolloutStorage:
    """Collects steps and stacks them.

    Args:
        state: The recurrent state before the first step, [N, H] each.
    """

    def __init__(self, state: PolicyState) -> None:
        self._state = state
        self._observations: list[Observation] = []
        self._actions: list[Tensor] = []
        self._rewards: list[Sequence[float]] = []
        self._flags: list[tuple[Sequence[bool], ...]] = []

    def __len__(self) -> int:
        return len(self._rewards)

    def add(
        self,
        observation: Observation,
        actions: Tensor,
        rewards: Sequence[float],
        *,
        valid: Sequence[bool],
        starts: Sequence[bool],
        terminated: Sequence[bool],
        truncated: Sequence[bool],
    ) -> None:
        """Adds one step of all environments.

        Args:
            observation: Before the step, [N, ...].
            actions: [N, heads].
            rewards: N rewards; not read where ``valid`` is false.
            valid: Whether each episode was running before the step.
            starts: Whether this is each episode's first step.
            terminated: Whether the step ended it for good.
            truncated: Whether a time limit ended it.
        """
        self._observations.append(observation)
        self._actions.append(actions)
        self._rewards.append([r if ok else 0.0 for r, ok in zip(rewards, valid, strict=True)])
        self._flags.append((valid, starts, terminated, truncated))

    def build(self, following: Observation) -> Rollout:
        """Stacks the steps.

        Args:
            following: After the last step, [N, ...].

        Raises:
            SimicError: If there is no step.
        """
        if not self._rewards:
            raise SimicError("a rollout needs at least one step; none was added")
        device = following.features.device
        observation = stack_observations([*self._observations, following])
        valid, starts, terminated, truncated = (
            torch.tensor([list(row) for row in rows], dtype=torch.bool, device=device)
            for rows in zip(*self._flags, strict=True)
        )
        terminated &= valid
        return Rollout(
            observation=_without_padding(observation, valid, terminated),
            actions=torch.stack(self._actions),
            rewards=torch.tensor(self._rewards, dtype=torch.float32, device=device),
            valid=valid,
            starts=starts & valid,
            terminated=terminated,
            truncated=truncated & valid,
            state=self._state,
        )


def stack_observations(observations: Sequence[Observation]) -> Observation:
    """Stacks observations [N, ...] into one [T, N, ...]."""
    names = observations[0].masks
    return Observation(
        features=torch.stack([one.features for one in observations]),
        blueprints=torch.stack([one.blueprints for one in observations]),
        masks={name: torch.stack([one.masks[name] for one in observations]) for name in names},
    )


def slice_observation(observation: Observation, begin: int, end: int) -> Observation:
    """Returns the steps ``begin`` to ``end`` of an observation [T, N, ...]."""
    return Observation(
        features=observation.features[begin:end],
        blueprints=observation.blueprints[begin:end],
        masks={name: mask[begin:end] for name, mask in observation.masks.items()},
    )


def select_environments(observation: Observation, chosen: Tensor) -> Observation:
    """Returns some environments of an observation [T, N, ...], by index [M]."""
    return Observation(
        features=observation.features.index_select(1, chosen),
        blueprints=observation.blueprints.index_select(1, chosen),
        masks={name: mask.index_select(1, chosen) for name, mask in observation.masks.items()},
    )


def _without_padding(observation: Observation, valid: Tensor, terminated: Tensor) -> Observation:
    """Zeroes features that are never read, so that a NaN in them has no effect."""
    follows = valid & ~terminated
    read = torch.cat((valid[:1], valid[1:] | follows[:-1], follows[-1:]))
    return Observation(
        features=torch.where(read.unsqueeze(-1), observation.features, 0.0),
        blueprints=observation.blueprints,
        masks=observation.masks,
    )
