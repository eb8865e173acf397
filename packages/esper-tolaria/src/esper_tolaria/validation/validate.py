"""Validation with counterfactuals: the whole network, and the network with seeds disabled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from esper_leyline import CounterfactualConfig, MorphogeneticHost, SeedMeasurement
from esper_leyline.ports import HostStack
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """What to count for one host.

    Attributes:
        disabled: The slots to disable in each configuration.
        by_class: Whether to count predictions by class too, if a row has one target.
    """

    disabled: tuple[frozenset[str], ...]
    by_class: bool = False


@torch.inference_mode()
def score(
    host: MorphogeneticHost,
    split: Split,
    request: ScoreRequest,
    classes: int,
) -> Scores:
    """Runs every configuration over a split, chunk by chunk; does not wait for the device."""
    host.train(False)
    counter = _Counter(split, request, classes)
    for inputs, targets in _chunks(split, classes):
        counter.add(host.counterfactuals(inputs, request.disabled), targets)
    return counter.total()


@torch.inference_mode()
def score_stack(
    stack: HostStack, split: Split, requests: Sequence[ScoreRequest], classes: int
) -> list[Scores]:
    """Runs every configuration of every host over a split, chunk by chunk."""
    counters = [_Counter(split, request, classes) for request in requests]
    disabled = [request.disabled for request in requests]
    for inputs, targets in _chunks(split, classes):
        for counter, logits in zip(counters, stack.counterfactuals(inputs, disabled), strict=True):
            counter.add(logits, targets)
    return [counter.total() for counter in counters]


class _Counter:
    """Sums of one host over the chunks of a split."""

    def __init__(self, split: Split, request: ScoreRequest, classes: int) -> None:
        self._split, self._request, self._classes = split, request, classes
        self._losses: list[Tensor] = []
        self._correct: list[Tensor] = []
        self._right: list[Tensor] = []

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Adds a chunk: logits [C, B, ..., classes] and targets [B, ...]."""
        loss = cross_entropy(logits[0].flatten(0, -2), targets.flatten(), reduction="sum")
        hits = logits.argmax(-1) == targets
        self._losses.append(loss)
        self._correct.append(hits.flatten(1).sum(-1))
        self._right.append(hits[0])

    def total(self) -> Scores:
        """Returns the sums."""
        split, by_class = self._split, None
        if self._request.by_class and split.targets.dim() == 1:
            by_class = _count_classes(torch.cat(self._right), split.targets, self._classes)
        return Scores(
            loss=torch.stack(self._losses).sum(),
            correct=torch.stack(self._correct).sum(0),
            predictions=len(split) * split.predictions,
            by_class=by_class,
        )


def _chunks(split: Split, classes: int) -> Iterator[tuple[Tensor, Tensor]]:
    rows = chunk_rows(split, classes)
    return zip(split.inputs.split(rows), split.targets.split(rows), strict=True)


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
