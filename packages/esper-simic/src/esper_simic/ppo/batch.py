"""The tensors that an update reads: the whole rollout, and its minibatches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from esper_leyline import Observation, PolicyEvaluation, PPOConfig
from esper_leyline.ports import PolicyState
from esper_simic.errors import SimicError
from esper_simic.ppo.normalizers import ReturnScale
from esper_simic.ppo.returns import gae, head_advantages, lambda_returns
from esper_simic.rollout.storage import Rollout, select_environments, slice_observation

SMALLEST_SPREAD = 0.05
"""Advantages are divided by at least this share of the returns' standard deviation.

If all actions are equally good, advantages are only noise of the critic. Scaled up to unit size,
this noise would make heads collapse that have nothing to learn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minibatch:
    """Some environments of a rollout, or a chunk of their steps.

    Attributes:
        observation: [T, N, ...].
        actions: [T, N, heads] int64.
        starts: [T, N] bool, true where an episode starts.
        state: The recurrent state before the first step, [N, H] each.
        valid: [T, N] bool: steps that the critic learns from.
        decided: [T, N] bool: valid steps at which a head had a choice.
        choosable: [T, N, heads] bool: heads that had a choice; the actor learns from these.
        advantages: [T, N, heads], standardised for each baseline.
        targets: The returns that the critic is fitted to, in critic units, [T, N].
        old_log_probs: Log-probabilities under the reference policy, [T, N, heads].
        old_distributions: Its log-probabilities of every choice, [T, N, heads, choices].
        valid_count: Number of valid steps in the whole minibatch, scalar.
        decided_count: Number of decided steps in it, scalar.
        choosable_count: Number of steps at which each head had a choice in it, [heads].
    """

    observation: Observation
    actions: Tensor
    starts: Tensor
    state: PolicyState
    valid: Tensor
    decided: Tensor
    choosable: Tensor
    advantages: Tensor
    targets: Tensor
    old_log_probs: Tensor
    old_distributions: Tensor
    valid_count: Tensor
    decided_count: Tensor
    choosable_count: Tensor

    @property
    def steps(self) -> int:
        """T."""
        return self.valid.shape[0]

    @property
    def environments(self) -> int:
        """N."""
        return self.valid.shape[1]

    def chunk(self, begin: int, end: int) -> Minibatch:
        """Returns views of the steps ``begin`` to ``end``; counts stay those of all steps."""
        return replace(
            self,
            observation=slice_observation(self.observation, begin, end),
            actions=self.actions[begin:end],
            starts=self.starts[begin:end],
            valid=self.valid[begin:end],
            decided=self.decided[begin:end],
            choosable=self.choosable[begin:end],
            advantages=self.advantages[begin:end],
            targets=self.targets[begin:end],
            old_log_probs=self.old_log_probs[begin:end],
            old_distributions=self.old_distributions[begin:end],
        )

    def select(self, environments: Tensor) -> Minibatch:
        """Returns copies for some environments, by index [M]."""
        chosen = environments.to(self.valid.device)
        valid = self.valid.index_select(1, chosen)
        decided = self.decided.index_select(1, chosen)
        choosable = self.choosable.index_select(1, chosen)
        hidden, cell = self.state
        return Minibatch(
            observation=select_environments(self.observation, chosen),
            actions=self.actions.index_select(1, chosen),
            starts=self.starts.index_select(1, chosen),
            state=(hidden.index_select(0, chosen), cell.index_select(0, chosen)),
            valid=valid,
            decided=decided,
            choosable=choosable,
            advantages=self.advantages.index_select(1, chosen),
            targets=self.targets.index_select(1, chosen),
            old_log_probs=self.old_log_probs.index_select(1, chosen),
            old_distributions=self.old_distributions.index_select(1, chosen),
            valid_count=valid.sum(),
            decided_count=decided.sum(),
            choosable_count=choosable.sum(dim=(0, 1)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBatch:
    """A whole rollout, with the critic's estimates before the update.

    Attributes:
        whole: All of it as one minibatch.
        values: V(s) in scaled rewards, [T + 1, N].
        q_taken: Q(s, a) of the first head's choice, in scaled rewards, [T, N].
        returns: λ-returns in scaled rewards, [T, N].
    """

    whole: Minibatch
    values: Tensor
    q_taken: Tensor
    returns: Tensor

    def with_targets(self, targets: Tensor) -> UpdateBatch:
        """Returns this batch with the critic's targets in critic units, [T, N]."""
        return replace(self, whole=replace(self.whole, targets=targets))


def make_batch(
    rollout: Rollout, evaluation: PolicyEvaluation, config: PPOConfig, scale: ReturnScale
) -> UpdateBatch:
    """Computes advantages and returns.

    The critic is Q(s, a) over the choices of the first head. That head is judged against V(s),
    the expectation of Q under the policy: Q(s, a) as its own baseline would cancel its signal.
    The other heads are chosen given a and judged against Q(s, a).

    Args:
        rollout: T steps of N environments.
        evaluation: The policy on it, [T + 1, N].
        config: Discount, λ, and whether truncated episodes are bootstrapped.
        scale: Converts the critic's outputs.

    Returns:
        The batch; its targets are the returns until ``with_targets`` replaces them.
    """
    values = scale.scaled(evaluation.value)
    q_values = evaluation.q_values[:-1].gather(-1, rollout.actions[..., :1]).squeeze(-1)
    q_taken = scale.scaled(q_values)
    ended = rollout.terminated | rollout.truncated
    advantages = gae(
        rollout.rewards / scale.reward_scale,
        values,
        terminal=rollout.terminated if config.bootstrap_horizon else ended,
        last=ended,
        valid=rollout.valid,
        gamma=config.gamma,
        lam=config.gae_lambda,
    )
    returns = lambda_returns(advantages, values)
    choosable = evaluation.choosable[:-1] & rollout.valid.unsqueeze(-1)
    decided = choosable.any(dim=-1)
    whole = Minibatch(
        observation=slice_observation(rollout.observation, 0, rollout.steps),
        actions=rollout.actions,
        starts=rollout.starts,
        state=rollout.state,
        valid=rollout.valid,
        decided=decided,
        choosable=choosable,
        advantages=head_advantages(
            advantages, returns - q_taken, choosable, smallest_std=SMALLEST_SPREAD * scale.spread
        ),
        targets=returns,
        old_log_probs=evaluation.log_probs[:-1].detach().clone(),
        old_distributions=evaluation.log_distributions[:-1].clone(),
        valid_count=rollout.valid.sum(),
        decided_count=decided.sum(),
        choosable_count=choosable.sum(dim=(0, 1)),
    )
    return UpdateBatch(whole=whole, values=values, q_taken=q_taken, returns=returns)


def split_environments(
    environments: int, minibatches: int, *, rng_seed: tuple[int, ...]
) -> list[Tensor]:
    """Splits environments into minibatches at random, as evenly as possible.

    Args:
        environments: Their number.
        minibatches: Number of minibatches.
        rng_seed: Decides the order.

    Returns:
        Indices [M] of each minibatch.

    Raises:
        SimicError: If a minibatch would be empty.
    """
    check_minibatches(environments, minibatches)
    order = np.random.default_rng(rng_seed).permutation(environments)
    return [torch.from_numpy(part) for part in np.array_split(order, minibatches)]


def check_minibatches(environments: int, minibatches: int) -> None:
    """Checks that every minibatch gets an environment.

    Raises:
        SimicError: If one would be empty.
    """
    if minibatches > environments:
        raise SimicError(
            f"ppo.minibatches is {minibatches} and there are {environments} environments; "
            "each takes whole ones, so give at most as many"
        )
