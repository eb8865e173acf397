"""What one round of episodes left behind, step by step, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esper_leyline import EpisodeEnd, Observation, Op
from esper_leyline.ports import PolicyDecision
from esper_simic.errors import SimicError

GOES_ON, AT_HORIZON, BY_GOVERNOR = 0, 1, 2
"""Codes of ``Rollout.ended``."""

_END_CODES = {None: GOES_ON, EpisodeEnd.HORIZON: AT_HORIZON, EpisodeEnd.GOVERNOR: BY_GOVERNOR}
_WAIT = tuple(Op).index(Op.WAIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """N episodes side by side, T steps long; shorter ones are padded.

    Attributes:
        observation: [T + 1, N, ...]; the last row is what the last step led to and is
            read for bootstrapping only. What follows an episode's end is zeroed.
        actions: [T, N, heads] int64.
        log_probs: [T, N, heads] as sampled.
        value: [T, N] as seen when acting, in critic units.
        q_taken: [T, N] Q of the op taken, likewise.
        rewards: [T, N] as paid, 0 at invalid steps.
        valid: [T, N] bool: the episode was still going on when the action was chosen.
        forced: [T, N] bool: nothing but WAIT was open.
        starts: [T, N] bool: an episode's first step.
        ended: [T, N] int8: how the step ended its episode (``GOES_ON``, ``AT_HORIZON``,
            ``BY_GOVERNOR``).
    """

    observation: Observation
    actions: Tensor
    log_probs: Tensor
    value: Tensor
    q_taken: Tensor
    rewards: Tensor
    valid: Tensor
    forced: Tensor
    starts: Tensor
    ended: Tensor

    @property
    def steps(self) -> int:
        """T."""
        return self.rewards.shape[0]

    @property
    def environments(self) -> int:
        """N."""
        return self.rewards.shape[1]


class RolloutBuffer:
    """Collects a round's steps and stacks them."""

    def __init__(self) -> None:
        self._observations: list[Observation] = []
        self._decisions: list[PolicyDecision] = []
        self._rewards: list[list[float]] = []
        self._valid: list[list[bool]] = []
        self._ended: list[list[int]] = []

    def __len__(self) -> int:
        return len(self._rewards)

    def add(
        self,
        observation: Observation,
        decision: PolicyDecision,
        rewards: Sequence[float],
        *,
        valid: Sequence[bool],
        ended: Sequence[EpisodeEnd | None],
    ) -> None:
        """Takes in one step of all environments.

        Args:
            observation: What was decided on, [N, ...].
            decision: What was decided.
            rewards: One an environment; not read where ``valid`` is false.
            valid: Whether each episode was still going on before the step.
            ended: How each episode stands after the step.
        """
        going_on = [flag and end is None for flag, end in zip(valid, ended, strict=True)]
        self._observations.append(observation)
        self._decisions.append(decision)
        self._rewards.append([r if ok else 0.0 for r, ok in zip(rewards, valid, strict=True)])
        self._valid.append(list(valid))
        self._ended.append(
            [
                GOES_ON if goes or not ok else _END_CODES[end]
                for goes, ok, end in zip(going_on, valid, ended, strict=True)
            ]
        )

    def build(self, following: Observation) -> Rollout:
        """Stacks the steps.

        Args:
            following: What the last step led to, [N, ...].

        Raises:
            SimicError: If there is no step.
        """
        if not self._rewards:
            raise SimicError("a rollout needs at least one step; none was added")
        device = following.features.device
        observation = stack_observations([*self._observations, following])
        actions = torch.stack([decision.actions for decision in self._decisions])
        q_values = torch.stack([decision.q_values for decision in self._decisions])
        valid = torch.tensor(self._valid, device=device)
        ended = torch.tensor(self._ended, dtype=torch.int8, device=device)
        ops = observation.masks["op"][:-1]
        starts = torch.zeros_like(valid)
        starts[0] = True
        return Rollout(
            observation=_without_padding(observation, valid, ended),
            actions=actions,
            log_probs=torch.stack([decision.log_probs for decision in self._decisions]),
            value=torch.stack([decision.value for decision in self._decisions]),
            q_taken=q_values.gather(-1, actions[..., :1]).squeeze(-1),
            rewards=torch.tensor(self._rewards, dtype=torch.float32, device=device),
            valid=valid,
            forced=ops[..., _WAIT] & (ops.sum(dim=-1) == 1),
            starts=starts,
            ended=ended,
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


def pick_environments(observation: Observation, chosen: Tensor) -> Observation:
    """Returns some environments of an observation [T, N, ...], by index [M]."""
    return Observation(
        features=observation.features.index_select(1, chosen),
        blueprints=observation.blueprints.index_select(1, chosen),
        masks={name: mask.index_select(1, chosen) for name, mask in observation.masks.items()},
    )


def _without_padding(observation: Observation, valid: Tensor, ended: Tensor) -> Observation:
    """Zeroes features that nothing may read, so that not even a NaN in them matters."""
    follows = valid & (ended != BY_GOVERNOR)
    read = torch.cat((valid[:1], valid[1:] | follows[:-1], follows[-1:]))
    return Observation(
        features=torch.where(read.unsqueeze(-1), observation.features, 0.0),
        blueprints=observation.blueprints,
        masks=observation.masks,
    )
