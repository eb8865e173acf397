"""From a rollout to what PPO's passes read: advantages, targets and masks.

The critic is Q(s, op), and a baseline must not know what it judges. The op is judged
against V(s), the expectation of Q under the policy; Q(s, op) as its own baseline would
cancel the very signal that tells ops apart. The heads that are chosen given the op are
judged against Q(s, op). Q is regressed on the λ-return of the op taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from esper_leyline import Observation, PolicyEvaluation, PPOConfig
from esper_simic.ppo.losses import standardize
from esper_simic.ppo.normalizers import Units
from esper_simic.ppo.returns import gae, lambda_returns
from esper_simic.rollout.storage import BY_GOVERNOR, GOES_ON, Rollout, slice_observation

SMALLEST_SPREAD = 0.05
"""Advantages are divided by at least this share of the returns' ordinary spread.

Once every action is as good as any, what is left of the advantages is the critic's
noise; standardising it to full size would make heads that do not matter collapse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """The critic's view of a rollout before the update, in scaled reward units.

    Attributes:
        value: V(s), [T + 1, N].
        q_taken: Q(s, op) of the op taken, [T, N].
        choosable: [T, N, heads] bool, from the policy.
    """

    value: Tensor
    q_taken: Tensor
    choosable: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A rollout made ready for the passes.

    Attributes:
        observation: [T, N, ...].
        actions: [T, N, heads].
        starts: [T, N] bool.
        valid: [T, N] bool; the steps the critic learns from.
        decided: [T, N] bool; valid steps at which there was something to choose.
        choosable: [T, N, heads] bool; what the actor learns from.
        advantages: [T, N, heads], each head's own, standardised per baseline.
        returns: λ-returns [T, N] in scaled reward units.
    """

    observation: Observation
    actions: Tensor
    starts: Tensor
    valid: Tensor
    decided: Tensor
    choosable: Tensor
    advantages: Tensor
    returns: Tensor


def baselines(evaluation: PolicyEvaluation, rollout: Rollout, units: Units) -> Baselines:
    """Reads V, Q of the op taken, and the choosable heads from an evaluation [T + 1, N]."""
    taken = rollout.actions[..., :1]
    q_values = evaluation.q_values[:-1].gather(-1, taken).squeeze(-1)
    return Baselines(
        value=units.scaled(evaluation.value),
        q_taken=units.scaled(q_values),
        choosable=evaluation.choosable[:-1],
    )


def make_batch(rollout: Rollout, seen: Baselines, config: PPOConfig, *, units: Units) -> Batch:
    """Computes advantages and returns, [T, N] each, and each head's share of them.

    Args:
        rollout: What happened.
        seen: The critic's view of it.
        config: Discount, λ and what the horizon means.
        units: What rewards are divided by, and the ordinary spread of returns.
    """
    ends = rollout.ended == BY_GOVERNOR if config.bootstrap_horizon else rollout.ended != GOES_ON
    advantages = gae(
        rollout.rewards / units.reward_scale,
        seen.value,
        terminal=ends,
        last=rollout.ended != GOES_ON,
        valid=rollout.valid,
        gamma=config.gamma,
        lam=config.gae_lambda,
    )
    returns = lambda_returns(advantages, seen.value)
    decided = rollout.valid & ~rollout.forced
    choosable = seen.choosable & decided.unsqueeze(-1)
    return Batch(
        observation=slice_observation(rollout.observation, 0, rollout.steps),
        actions=rollout.actions,
        starts=rollout.starts,
        valid=rollout.valid,
        decided=decided,
        choosable=choosable,
        advantages=head_advantages(
            advantages,
            returns - seen.q_taken,
            choosable,
            smallest_std=SMALLEST_SPREAD * units.spread,
        ),
        returns=returns,
    )


def head_advantages(
    op: Tensor, given_op: Tensor, choosable: Tensor, *, smallest_std: float
) -> Tensor:
    """Standardises each baseline's advantage and gives every head its own.

    Args:
        op: Advantages over V(s), [T, N]: the op head's.
        given_op: Advantages over Q(s, op), [T, N]: the other heads'.
        choosable: [T, N, heads] bool, the op first. An advantage is standardised over
            the steps at which one of its heads had a choice.
        smallest_std: Least deviation that it is divided by.

    Returns:
        [T, N, heads].
    """
    of_op = standardize(op, choosable[..., 0], smallest_std)
    of_rest = standardize(given_op, choosable[..., 1:].any(dim=-1), smallest_std)
    rest = of_rest.unsqueeze(-1).expand(*of_rest.shape, choosable.shape[-1] - 1)
    return torch.cat((of_op.unsqueeze(-1), rest), dim=-1)
