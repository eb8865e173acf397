"""PPO's loss over a minibatch or a chunk of it, with its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from esper_leyline import PolicyEvaluation
from esper_simic.ppo.batch import Minibatch
from esper_simic.ppo.losses import categorical_kl, clipped_surrogate, masked_mean, value_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class LossStats:
    """The loss of a chunk, as its share of the minibatch's means, so that chunks add up.

    Attributes:
        loss: The loss that is minimised.
        policy: Policy loss, scalar.
        value: Value loss, scalar.
        entropy: Mean entropy of each head over the steps at which it had a choice, [heads].
        kl: KL divergence of each head, old to new, mean over the decisions, [heads].
        clipped: Share of choosable entries whose ratio was clipped.
        ratio_min: Smallest ratio of a choosable entry; 1 if there is none.
        ratio_max: Largest.
        valid_count: Valid steps of the minibatch, scalar.
        decided_count: Its decided steps, scalar.
        choosable_count: Its steps at which each head had a choice, [heads].
    """

    loss: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    kl: Tensor
    clipped: Tensor
    ratio_min: Tensor
    ratio_max: Tensor
    valid_count: Tensor
    decided_count: Tensor
    choosable_count: Tensor


_COUNTS = ("valid_count", "decided_count", "choosable_count")


def ppo_loss(
    evaluation: PolicyEvaluation,
    minibatch: Minibatch,
    *,
    clip: float,
    value_coefficient: float,
    entropy_coefficients: Tensor,
) -> LossStats:
    """Computes the clipped objective.

    Each head has its own ratio and advantage. The objective of a decision is the sum over the
    heads that had a choice, averaged over the decisions, so a head weighs as much as it is used.
    (With a mean for each head, the noise of a head that is used twice a round would weigh as
    much as the first head.) The value loss is averaged over all valid steps.

    Args:
        evaluation: The policy on the minibatch.
        minibatch: A minibatch, or a chunk of one.
        clip: Clip range of the ratio.
        value_coefficient: Weight of the value loss.
        entropy_coefficients: Weight of each head's entropy bonus, [heads].
    """
    mask, decisions = minibatch.choosable, minibatch.decided_count
    # ratio = pi_new(a|s) / pi_old(a|s), for each head
    log_ratios = torch.where(mask, evaluation.log_probs - minibatch.old_log_probs, 0.0)
    ratios = log_ratios.exp()
    surrogate = clipped_surrogate(ratios, minibatch.advantages, clip)
    policy = -masked_mean(surrogate, mask, count=decisions)
    bonus = masked_mean(entropy_coefficients * evaluation.entropies, mask, count=decisions)
    taken = evaluation.q_values.gather(-1, minibatch.actions[..., :1]).squeeze(-1)
    value = value_loss(taken, minibatch.targets, minibatch.valid, minibatch.valid_count)
    outside = ((ratios - 1).abs() > clip).float()
    kl = categorical_kl(minibatch.old_distributions, evaluation.log_distributions)
    return LossStats(
        loss=policy + value_coefficient * value - bonus,
        policy=policy,
        value=value,
        entropy=masked_mean(evaluation.entropies, mask, (0, 1), minibatch.choosable_count),
        kl=masked_mean(kl, mask, (0, 1), decisions),
        clipped=masked_mean(outside, mask, count=minibatch.choosable_count.sum()),
        ratio_min=ratios.amin(),
        ratio_max=ratios.amax(),
        valid_count=minibatch.valid_count,
        decided_count=minibatch.decided_count,
        choosable_count=minibatch.choosable_count,
    )


def sum_chunks(chunks: Sequence[LossStats]) -> LossStats:
    """Adds the statistics of a minibatch's chunks."""
    counts = {name: getattr(chunks[0], name) for name in _COUNTS}
    return _add(chunks, counts)


def merge_minibatches(minibatches: Sequence[LossStats]) -> LossStats:
    """Combines the statistics of a pass's minibatches into means over all of their steps."""
    if len(minibatches) == 1:
        return minibatches[0]
    counts = {
        name: torch.stack([getattr(each, name) for each in minibatches]).sum(dim=0)
        for name in _COUNTS
    }
    return _add([_weighted(each, **counts) for each in minibatches], counts)


def _add(parts: Sequence[LossStats], counts: dict[str, Tensor]) -> LossStats:
    joined = {
        field.name: torch.stack([getattr(each, field.name).detach() for each in parts])
        for field in fields(LossStats)
        if field.name not in _COUNTS
    }
    smallest, largest = joined.pop("ratio_min").amin(), joined.pop("ratio_max").amax()
    sums = {name: values.sum(dim=0) for name, values in joined.items()}
    return LossStats(ratio_min=smallest, ratio_max=largest, **sums, **counts)


def _weighted(
    stats: LossStats, *, valid_count: Tensor, decided_count: Tensor, choosable_count: Tensor
) -> LossStats:
    """Weights a minibatch's means by its share of all the steps."""
    valid = stats.valid_count / valid_count.clamp_min(1)
    decided = stats.decided_count / decided_count.clamp_min(1)
    entries = stats.choosable_count.sum() / choosable_count.sum().clamp_min(1)
    return LossStats(
        loss=stats.loss * valid,
        policy=stats.policy * decided,
        value=stats.value * valid,
        entropy=stats.entropy * stats.choosable_count / choosable_count.clamp_min(1),
        kl=stats.kl * decided,
        clipped=stats.clipped * entries,
        ratio_min=stats.ratio_min,
        ratio_max=stats.ratio_max,
        valid_count=valid_count,
        decided_count=decided_count,
        choosable_count=choosable_count,
    )
