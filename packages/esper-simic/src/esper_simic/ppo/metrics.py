"""What an update looked like, as the numbers that go to telemetry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from esper_leyline import HEADS, Op, PolicyEvaluation
from esper_leyline.events import PPOUpdate, QValue
from esper_simic.ppo.losses import explained_variance, masked_mean, masked_std
from esper_simic.ppo.normalizers import Units
from esper_simic.ppo.policy import TrainablePolicy

if TYPE_CHECKING:
    from esper_simic.ppo.batch import Baselines, Batch
    from esper_simic.ppo.objective import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientNorms:
    """L2 norms before clipping: of everything, and of each head's own parameters."""

    total: float
    heads: Mapping[str, float]


@dataclass(slots=True, kw_only=True)
class Report:
    """An update's event in the making; a number that was never measured stays ``None``.

    ``kept`` holds what clipping left of each step's gradient, as a share.
    """

    round: int
    learning_rate: float
    entropy_coefficient: float
    numbers: dict[str, float | None] = field(default_factory=dict)
    head_entropy: dict[str, float | None] = field(default_factory=dict)
    head_gradient_norm: dict[str, float | None] = field(default_factory=dict)
    head_kl: dict[str, float | None] = field(default_factory=dict)
    q_values: tuple[QValue, ...] = ()
    passes: int = 0
    kept: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: str | None = None

    def payload(self) -> PPOUpdate:
        """Returns the event."""
        means = [q.mean for q in self.q_values if q.mean is not None]
        return PPOUpdate(
            learning_rate=self.learning_rate,
            entropy_coefficient=self.entropy_coefficient,
            head_entropy={head: self.head_entropy.get(head) for head in HEADS},
            head_gradient_norm={head: self.head_gradient_norm.get(head) for head in HEADS},
            head_kl={head: self.head_kl.get(head) for head in HEADS},
            q_values=self.q_values,
            q_spread=max(means) - min(means) if len(means) > 1 else None,
            gradient_kept=math.fsum(self.kept) / len(self.kept) if self.kept else None,
            passes=self.passes,
            seconds=self.seconds,
            skipped=self.skipped,
            **{name: self.numbers.get(name) for name in _NUMBERS},
        )


_NUMBERS = (
    "policy_loss",
    "value_loss",
    "entropy",
    "gradient_norm",
    "kl",
    "clip_fraction",
    "ratio_min",
    "ratio_max",
    "explained_variance",
    "advantage_mean",
    "advantage_std",
    "return_mean",
    "return_std",
    "lstm_hidden_norm",
    "lstm_cell_norm",
)


def describe_batch(report: Report, batch: Batch, seen: Baselines, units: Units) -> None:
    """Notes the returns, and how well the critic foresaw them, in reward units."""
    valid, scale = batch.valid, units.reward_scale
    advantages = batch.returns - seen.value[:-1]
    report.numbers |= {
        "explained_variance": _known(explained_variance(seen.q_taken, batch.returns, valid)),
        "advantage_mean": _known(masked_mean(advantages, valid) * scale),
        "advantage_std": _known(masked_std(advantages, valid) * scale),
        "return_mean": _known(masked_mean(batch.returns, valid) * scale),
        "return_std": _known(masked_std(batch.returns, valid) * scale),
    }


def describe_evaluation(
    report: Report, evaluation: PolicyEvaluation, batch: Batch, units: Units
) -> None:
    """Notes the size of the memory and, in reward units, Q by op over an evaluation [T + 1, N]."""
    hidden, cell = evaluation.state
    report.numbers |= {
        "lstm_hidden_norm": _known(hidden.norm(dim=-1).mean()),
        "lstm_cell_norm": _known(cell.norm(dim=-1).mean()),
    }
    q_values = units.rewards(evaluation.q_values[:-1])
    open_ops = batch.observation.masks["op"] & batch.valid.unsqueeze(-1)
    steps = open_ops.sum(dim=(0, 1))
    means = masked_mean(q_values, open_ops, (0, 1))
    variances = masked_mean((q_values - means).square(), open_ops, (0, 1))
    rows = zip(Op, means.tolist(), variances.tolist(), steps.tolist(), strict=True)
    report.q_values = tuple(
        QValue(
            op=op.name,
            mean=mean if count else None,
            variance=variance if count else None,
            valid_steps=count,
        )
        for op, mean, variance, count in rows
    )


def describe_pass(report: Report, terms: Terms, choosable: Tensor) -> None:
    """Notes a pass's objective; ``choosable`` counts each head's steps, [heads]."""
    counts = choosable.tolist()
    entropies = terms.entropy.tolist()
    report.head_entropy = _by_head(entropies, counts)
    report.head_kl = _by_head(terms.kl.tolist(), counts)
    entries = sum(counts)
    weighted = sum(entropy * count for entropy, count in zip(entropies, counts, strict=True))
    acted = entries > 0
    report.numbers |= {
        "value_loss": _known(terms.value),
        "policy_loss": _known(terms.policy) if acted else None,
        "entropy": weighted / entries if acted else None,
        "kl": _known(terms.kl.sum()) if acted else None,
        "clip_fraction": _known(terms.clipped) if acted else None,
        "ratio_min": _known(terms.ratio_min) if acted else None,
        "ratio_max": _known(terms.ratio_max) if acted else None,
    }


def _by_head(values: Sequence[float], counts: Sequence[int]) -> dict[str, float | None]:
    """Names the heads' values; ``None`` for a head without a step."""
    return {
        head: value if count else None
        for head, value, count in zip(HEADS, values, counts, strict=True)
    }


def describe_gradients(report: Report, norms: GradientNorms) -> None:
    """Notes a pass's gradient norms."""
    report.numbers["gradient_norm"] = norms.total
    report.head_gradient_norm = dict(norms.heads)


def gradient_norms(policy: TrainablePolicy) -> GradientNorms:
    """Measures the gradients where they stand."""
    norms = {
        name: torch.linalg.vector_norm(parameter.grad)
        for name, parameter in policy.named_parameters()
        if parameter.grad is not None
    }
    if not norms:
        return GradientNorms(total=0.0, heads={})
    values = torch.stack(list(norms.values())).tolist()
    by_name = dict(zip(norms, values, strict=True))
    heads = {}
    for head in HEADS:
        own = [value for name, value in by_name.items() if f".heads.{head}." in f".{name}"]
        if own:
            heads[head] = math.hypot(*own)
    return GradientNorms(total=math.hypot(*values), heads=heads)


def _known(value: Tensor) -> float | None:
    """A measured number; NaN stands for one that has no meaning here."""
    number = float(value)
    return None if math.isnan(number) else number
