"""PPO's loss over a piece of a batch, with what is worth knowing about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from esper_leyline import PolicyEvaluation
from esper_simic.ppo.losses import categorical_kl, clipped_surrogate, masked_mean, value_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some steps of a batch, [T', N, ...], as the objective reads them.

    Attributes:
        ops: The op taken, [T', N, 1] int64.
        old_log_probs: [T', N, heads].
        old_distributions: [T', N, heads, choices].
        advantages: [T', N, heads].
        targets: What Q of the op taken should be, in critic units, [T', N].
        valid: [T', N] bool.
        decided: [T', N] bool.
        choosable: [T', N, heads] bool.
    """

    ops: Tensor
    old_log_probs: Tensor
    old_distributions: Tensor
    advantages: Tensor
    targets: Tensor
    valid: Tensor
    decided: Tensor
    choosable: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many steps each mean of the objective is taken over, in the whole batch.

    Attributes:
        valid: Scalar.
        decided: Scalar.
        choosable: By head, [heads].
    """

    valid: Tensor
    decided: Tensor
    choosable: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How the objective's parts are weighed.

    Attributes:
        clip: PPO's clip range.
        value: Of the value loss.
        entropy: Of each head's entropy bonus, [heads].
    """

    clip: float
    value: float
    entropy: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The objective of a piece as its share of the batch's means; pieces add up.

    Attributes:
        loss: What is minimised.
        policy: Scalar.
        value: Scalar.
        entropy: Mean by head over the steps at which it had a choice, [heads].
        kl: KL divergence by head, old to new, mean over the decisions, [heads].
        clipped: Share of choosable entries whose ratio was clipped.
        ratio_min: Smallest ratio of a choosable entry; 1 where there is none.
        ratio_max: Largest.
    """

    loss: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    kl: Tensor
    clipped: Tensor
    ratio_min: Tensor
    ratio_max: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The terms of a minibatch and what they are means over."""

    terms: Terms
    counts: Counts


def count_steps(valid: Tensor, decided: Tensor, choosable: Tensor) -> Counts:
    """Counts the steps of a batch, [T, N] and [T, N, heads]."""
    return Counts(valid=valid.sum(), decided=decided.sum(), choosable=choosable.sum(dim=(0, 1)))


def ppo_terms(
    evaluation: PolicyEvaluation, piece: Piece, counts: Counts, weights: Weights
) -> Terms:
    """Computes the clipped objective.

    Each head has its own ratio and advantage. A decision's objective is the sum over the
    heads that the op read and that had a choice; it is averaged over the decisions, so a
    head weighs as much as it is used. (A mean by head would let the noise of a head that
    is used twice a round weigh as much as the op.) The value loss is averaged over every
    valid step.
    """
    mask, decisions = piece.choosable, counts.decided
    log_ratios = torch.where(mask, evaluation.log_probs - piece.old_log_probs, 0.0)
    ratios = log_ratios.exp()
    surrogate = clipped_surrogate(ratios, piece.advantages, weights.clip)
    policy = -masked_mean(surrogate, mask, count=decisions)
    bonus = masked_mean(weights.entropy * evaluation.entropies, mask, count=decisions)
    taken = evaluation.q_values.gather(-1, piece.ops).squeeze(-1)
    value = value_loss(taken, piece.targets, piece.valid, counts.valid)
    outside = ((ratios - 1).abs() > weights.clip).float()
    return Terms(
        loss=policy + weights.value * value - bonus,
        policy=policy,
        value=value,
        entropy=masked_mean(evaluation.entropies, mask, (0, 1), counts.choosable),
        kl=masked_mean(_moved(evaluation, piece), mask, (0, 1), decisions),
        clipped=masked_mean(outside, mask, count=counts.choosable.sum()),
        ratio_min=ratios.amin(),
        ratio_max=ratios.amax(),
    )


def _moved(evaluation: PolicyEvaluation, piece: Piece) -> Tensor:
    """Returns the KL divergence of every head at every step, [T', N, heads]."""
    return categorical_kl(piece.old_distributions, evaluation.log_distributions)


def add_up(terms: Sequence[Terms]) -> Terms:
    """Joins the terms of a batch's pieces."""
    joined = {
        field.name: torch.stack([getattr(one, field.name).detach() for one in terms])
        for field in fields(Terms)
    }
    smallest, largest = joined.pop("ratio_min").amin(), joined.pop("ratio_max").amax()
    sums = {name: values.sum(dim=0) for name, values in joined.items()}
    return Terms(ratio_min=smallest, ratio_max=largest, **sums)


def join(told: Sequence[Told]) -> Told:
    """Joins the terms of a pass's minibatches into means over all of their steps."""
    if len(told) == 1:
        return told[0]
    total = Counts(
        valid=torch.stack([each.counts.valid for each in told]).sum(),
        decided=torch.stack([each.counts.decided for each in told]).sum(),
        choosable=torch.stack([each.counts.choosable for each in told]).sum(dim=0),
    )
    return Told(terms=add_up([_share(each, total) for each in told]), counts=total)


def _share(told: Told, total: Counts) -> Terms:
    """Weighs a minibatch's means by the part that it has in all the steps."""
    terms, counts = told.terms, told.counts
    valid = counts.valid / total.valid.clamp_min(1)
    decided = counts.decided / total.decided.clamp_min(1)
    entries = counts.choosable.sum() / total.choosable.sum().clamp_min(1)
    return Terms(
        loss=terms.loss * valid,
        policy=terms.policy * decided,
        value=terms.value * valid,
        entropy=terms.entropy * counts.choosable / total.choosable.clamp_min(1),
        kl=terms.kl * decided,
        clipped=terms.clipped * entries,
        ratio_min=terms.ratio_min,
        ratio_max=terms.ratio_max,
    )
