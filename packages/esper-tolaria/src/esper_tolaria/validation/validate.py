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
"""Rows of a forward pass: large enough for few launches, small enough for the cache."""

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
        answers: Number of predictions: one per row, or one per token.
    """

    loss: Tensor
    correct: Tensor
    answers: int


@torch.inference_mode()
def score(
    host: MorphogeneticHost, split: Split, disabled: tuple[frozenset[str], ...], classes: int
) -> Scores:
    """Runs every configuration over a split, chunk by chunk; does not wait for the device."""
    host.train(False)
    rows = chunk_rows(split, classes)
    losses, correct = [], []
    for inputs, targets in zip(split.inputs.split(rows), split.targets.split(rows), strict=True):
        logits = host.counterfactuals(inputs, disabled)
        losses.append(cross_entropy(logits[0].flatten(0, -2), targets.flatten(), reduction="sum"))
        correct.append((logits.argmax(-1) == targets).flatten(1).sum(-1))
    return Scores(
        loss=torch.stack(losses).sum(),
        correct=torch.stack(correct).sum(0),
        answers=len(split) * split.answers,
    )


def chunk_rows(split: Split, classes: int) -> int:
    """Returns the number of rows of a forward pass."""
    return max(1, min(CHUNK, CHUNK_LOGITS // (split.answers * classes)))


def read(scores: Scores, comparison: Comparison) -> Validation:
    """Converts sums to the numbers of a report; waits for the device."""
    counts = scores.correct.tolist()
    accuracies = {
        coalition: 100.0 * count / scores.answers
        for coalition, count in zip(comparison.coalitions, counts, strict=True)
    }
    return Validation(
        loss=scores.loss.item() / scores.answers,
        accuracy=accuracies[comparison.coalitions[0]],
        measurements=measure(comparison, accuracies),
        counterfactuals=describe(comparison, accuracies),
        shapley=measure_shapley(comparison, accuracies),
    )
