"""The metrics of an update, by the names of ``PPOUpdate``'s fields."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from esper_leyline import PolicyEvaluation
from esper_leyline.events import PPOUpdate, QValue
from esper_simic.ppo.batch import UpdateBatch
from esper_simic.ppo.losses import explained_variance, masked_mean, masked_std
from esper_simic.ppo.normalizers import ReturnScale
from esper_simic.ppo.objective import LossStats
from esper_simic.ppo.policy import TrainablePolicy

Metrics = dict[str, Any]
"""Fields of ``PPOUpdate`` by name."""

_UNMEASURED = (
    *("policy_loss", "value_loss", "entropy", "gradient_norm", "gradient_kept", "kl"),
    *("clip_fraction", "ratio_min", "ratio_max", "explained_variance", "advantage_mean"),
    *("advantage_std", "return_mean", "return_std", "lstm_hidden_norm", "lstm_cell_norm"),
    "q_spread",
)


def ppo_update(heads: Sequence[str], metrics: Metrics) -> PPOUpdate:
    """Returns the event of an update; a number that was not measured is ``None``."""
    unmeasured = dict.fromkeys(heads)
    by_head = {
        name: unmeasured | metrics.get(name, {})
        for name in ("head_entropy", "head_gradient_norm", "head_kl")
    }
    facts = {"q_values": (), "passes": 0, **dict.fromkeys(_UNMEASURED), **metrics, **by_head}
    return PPOUpdate(**facts)


def return_metrics(batch: UpdateBatch, scale: ReturnScale) -> Metrics:
    """Measures returns, advantages and the critic's explained variance, in reward units."""
    valid, unit = batch.whole.valid, scale.reward_scale
    advantages = batch.returns - batch.values[:-1]
    return {
        "explained_variance": _known(explained_variance(batch.q_taken, batch.returns, valid)),
        "advantage_mean": _known(masked_mean(advantages, valid) * unit),
        "advantage_std": _known(masked_std(advantages, valid) * unit),
        "return_mean": _known(masked_mean(batch.returns, valid) * unit),
        "return_std": _known(masked_std(batch.returns, valid) * unit),
    }


def critic_metrics(
    evaluation: PolicyEvaluation,
    batch: UpdateBatch,
    scale: ReturnScale,
    *,
    first_head: str,
    choices: Sequence[str],
) -> Metrics:
    """Measures the recurrent state and, in reward units, Q of each choice of the first head.

    Args:
        evaluation: [T + 1, N].
        batch: The whole rollout.
        scale: Converts the critic's outputs.
        first_head: Key of the first head's mask.
        choices: Names of its choices.
    """
    hidden, cell = evaluation.state
    q_values = scale.rewards(evaluation.q_values[:-1])
    open_choices = batch.whole.observation.masks[first_head] & batch.whole.valid.unsqueeze(-1)
    steps = open_choices.sum(dim=(0, 1))
    means = masked_mean(q_values, open_choices, (0, 1))
    variances = masked_mean((q_values - means).square(), open_choices, (0, 1))
    rows = zip(choices, means.tolist(), variances.tolist(), steps.tolist(), strict=True)
    measured = tuple(
        QValue(
            op=name,
            mean=mean if count else None,
            variance=variance if count else None,
            valid_steps=count,
        )
        for name, mean, variance, count in rows
    )
    known = [each.mean for each in measured if each.mean is not None]
    return {
        "lstm_hidden_norm": _known(hidden.norm(dim=-1).mean()),
        "lstm_cell_norm": _known(cell.norm(dim=-1).mean()),
        "q_values": measured,
        "q_spread": max(known) - min(known) if len(known) > 1 else None,
    }


def loss_metrics(heads: Sequence[str], stats: LossStats) -> Metrics:
    """Measures a pass from its statistics."""
    counts, entropies = stats.choosable_count.tolist(), stats.entropy.tolist()
    entries = sum(counts)
    weighted = sum(entropy * count for entropy, count in zip(entropies, counts, strict=True))
    acted = entries > 0
    return {
        "head_entropy": _by_head(heads, entropies, counts),
        "head_kl": _by_head(heads, stats.kl.tolist(), counts),
        "value_loss": _known(stats.value),
        "policy_loss": _known(stats.policy) if acted else None,
        "entropy": weighted / entries if acted else None,
        "kl": _known(stats.kl.sum()) if acted else None,
        "clip_fraction": _known(stats.clipped) if acted else None,
        "ratio_min": _known(stats.ratio_min) if acted else None,
        "ratio_max": _known(stats.ratio_max) if acted else None,
    }


def gradient_metrics(policy: TrainablePolicy) -> Metrics:
    """Measures L2 norms of the gradients: of all parameters, and of each head's own."""
    parameters = [each for each in policy.parameters() if each.grad is not None]
    if not parameters:
        return {"gradient_norm": 0.0, "head_gradient_norm": {}}
    norms = torch.stack([_gradient_norm(each.grad) for each in parameters]).tolist()
    by_parameter = {id(each): norm for each, norm in zip(parameters, norms, strict=True)}
    heads = {}
    for head, its_own in policy.head_parameters().items():
        own = [by_parameter[id(each)] for each in its_own if id(each) in by_parameter]
        if own:
            heads[head] = math.hypot(*own)
    return {"gradient_norm": math.hypot(*norms), "head_gradient_norm": heads}


def _gradient_norm(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    norm: Tensor = torch.linalg.vector_norm(gradient)
    return norm


def _by_head(
    heads: Sequence[str], values: Sequence[float], counts: Sequence[int]
) -> Mapping[str, float | None]:
    """Maps heads to values; ``None`` for a head that never had a choice."""
    return {
        head: value if count else None
        for head, value, count in zip(heads, values, counts, strict=True)
    }


def _known(value: Tensor) -> float | None:
    """Returns a number, or ``None`` for NaN, which means that it is undefined here."""
    number = float(value)
    return None if math.isnan(number) else number
