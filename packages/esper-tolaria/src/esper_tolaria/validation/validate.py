"""Validation with counterfactuals: the whole network, and the network with seeds disabled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from esper_leyline import CounterfactualConfig, MorphogeneticHost, SeedMeasurement
from esper_leyline.reports import ShapleyValues
from esper_tolaria.datasets.splits import Split
from esper_tolaria.validation.counterfactuals import Comparison, describe, measure, measure_shapley

CHUNK = 500
"""Most rows of a forward pass: few kernel launches, and activations that fit the cache."""

CHUNK_LOGITS = 2**22
"""Largest number of logits of a forward pass; token models have many per row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The results of validation of one host.

    Attributes:
        loss: Mean cross-entropy in nats.
        accuracy: In percent.
        measurements: One per active seed, row-major.
        counterfactuals: Every configuration evaluated, the whole network first; empty if no
            seed is active.
        shapley: The active seeds' Shapley values, if they were required.
    """

    loss: float
    accuracy: float
    measurements: tuple[SeedMeasurement, ...]
    counterfactuals: tuple[CounterfactualConfig, ...]
    shapley: ShapleyValues | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Sums over a split, still on the device.

    Attributes:
        loss: Summed cross-entropy of the first configuration, scalar.
        correct: Correct predictions of each of C configurations, [C] int64.
        predictions: Number of predictions: one per row, or one per token.
        by_class: Correct predictions of the first configuration and targets by class, [2, classes]
            int64; ``None`` where they were not counted.
    """

    loss: Tensor
    correct: Tensor
    predictions: int
    by_class: Tensor | None = None

    def class_accuracies(self) -> tuple[float | None, ...]:
        """Returns the accuracy by class in percent; waits for the device.

        ``None`` stands for a class without targets; empty where classes were not counted.
        """
        if self.by_class is None:
            return ()
        correct, targets = self.by_class.tolist()
        return tuple(
            100.0 * right / count if count else None
            for right, count in zip(correct, targets, strict=True)
        )


@torch.inference_mode()
def score(
    host: MorphogeneticHost,
    split: Split,
    disabled: tuple[frozenset[str], ...],
    classes: int,
    *,
    by_class: bool = False,
) -> Scores:
    """Runs every configuration over a split, chunk by chunk; does not wait for the device.

    With ``by_class`` predictions are also counted by class, if a row has one target.
    """
    host.train(False)
    rows = chunk_rows(split, classes)
    losses, correct, right = [], [], []
    for inputs, targets in zip(split.inputs.split(rows), split.targets.split(rows), strict=True):
        logits = host.counterfactuals(inputs, disabled)
        losses.append(cross_entropy(logits[0].flatten(0, -2), targets.flatten(), reduction="sum"))
        hits = logits.argmax(-1) == targets
        correct.append(hits.flatten(1).sum(-1))
        right.append(hits[0])
    return Scores(
        loss=torch.stack(losses).sum(),
        correct=torch.stack(correct).sum(0),
        predictions=len(split) * split.predictions,
        by_class=_count_classes(torch.cat(right), split.targets, classes)
        if by_class and split.targets.dim() == 1
        else None,
    )


def chunk_rows(split: Split, classes: int) -> int:
    """Returns the number of rows of a forward pass."""
    return max(1, min(CHUNK, CHUNK_LOGITS // (split.predictions * classes)))


def _count_classes(correct: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Counts correct predictions [N] bool, and targets [N], by class, [2, classes] int64."""
    counts = targets.new_zeros(2, classes)
    # Not bincount, which waits for the device.
    counts[0].index_add_(0, targets, correct.long())
    counts[1].index_add_(0, targets, torch.ones_like(targets))
    return counts


def read(scores: Scores, comparison: Comparison) -> Validation:
    """Converts sums to the numbers of a report; waits for the device."""
    counts = scores.correct.tolist()
    accuracies = {
        coalition: 100.0 * count / scores.predictions
        for coalition, count in zip(comparison.coalitions, counts, strict=True)
    }
    return Validation(
        loss=scores.loss.item() / scores.predictions,
        accuracy=accuracies[comparison.coalitions[0]],
        measurements=measure(comparison, accuracies),
        counterfactuals=describe(comparison, accuracies),
        shapley=measure_shapley(comparison, accuracies),
    )
