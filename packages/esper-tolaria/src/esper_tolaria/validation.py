"""Validation with counterfactuals: the network as it is, and with seeds switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from esper_leyline import (
    CounterfactualConfig,
    MorphogeneticHost,
    SeedMeasurement,
    SeedReport,
    SeedStage,
)
from esper_tolaria.datasets import Split

CHUNK = 500
"""Rows that go through the network at a time: few operators, and activations fit the cache."""

CHUNK_LOGITS = 2**22
"""Logits that a configuration may make at a time, which over tokens are many a row."""

_BLENDED_STAGES = frozenset({SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED})
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What validation said of one host.

    Attributes:
        loss: Mean cross-entropy in nats.
        accuracy: In percent.
        measurements: One an active seed, row-major.
        counterfactuals: Every configuration measured, the whole network first; empty
            where no seed is active, as nothing was compared then.
    """

    loss: float
    accuracy: float
    measurements: tuple[SeedMeasurement, ...]
    counterfactuals: tuple[CounterfactualConfig, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Sums over a split, still on the device.

    Attributes:
        disabled: The slots switched off in each of the C configurations.
        loss: Summed cross-entropy of the first configuration, scalar.
        correct: Right answers, [C] int64.
        answers: Answers asked for: one a row, or one a token.
    """

    disabled: tuple[frozenset[str], ...]
    loss: Tensor
    correct: Tensor
    answers: int


def active_slots(reports: Sequence[SeedReport]) -> tuple[str, ...]:
    """Returns the slots whose seeds change the output now: blended in with alpha above zero."""
    return tuple(
        report.slot for report in reports if report.stage in _BLENDED_STAGES and report.alpha > 0
    )


def configurations(active: Sequence[str]) -> tuple[frozenset[str], ...]:
    """Returns the sets of slots to switch off, the empty set first, none twice.

    Each active seed is left out once; with two seeds both are left out as well, which
    completes what their interaction needs. Interactions of three or more seeds would
    need every pair alone and are not measured.
    """
    leave_one_out = [frozenset({slot}) for slot in active]
    both = [frozenset(active)] if len(active) == 2 else []
    return (_NOTHING, *leave_one_out, *both)


@torch.inference_mode()
def score(
    host: MorphogeneticHost, split: Split, disabled: tuple[frozenset[str], ...], classes: int
) -> Scores:
    """Runs every configuration over a split, chunk by chunk; queues work, reads nothing back."""
    host.train(False)
    rows = chunk_rows(split, classes)
    losses, correct = [], []
    for inputs, targets in zip(split.inputs.split(rows), split.targets.split(rows), strict=True):
        logits = host.counterfactuals(inputs, disabled)
        losses.append(cross_entropy(logits[0].flatten(0, -2), targets.flatten(), reduction="sum"))
        correct.append((logits.argmax(-1) == targets).flatten(1).sum(-1))
    return Scores(
        disabled=disabled,
        loss=torch.stack(losses).sum(),
        correct=torch.stack(correct).sum(0),
        answers=len(split) * split.answers,
    )


def chunk_rows(split: Split, classes: int) -> int:
    """Returns how many rows go through the network at a time."""
    return max(1, min(CHUNK, CHUNK_LOGITS // (split.answers * classes)))


def read(scores: Scores, active: Sequence[str]) -> Validation:
    """Turns sums into what a report says; waits for the device."""
    counts = scores.correct.tolist()
    accuracies = {
        off: 100.0 * count / scores.answers
        for off, count in zip(scores.disabled, counts, strict=True)
    }
    return Validation(
        loss=scores.loss.item() / scores.answers,
        accuracy=accuracies[_NOTHING],
        measurements=tuple(_measure(slot, active, accuracies) for slot in active),
        counterfactuals=_described(active, accuracies) if active else (),
    )


def _measure(
    slot: str, active: Sequence[str], accuracies: Mapping[frozenset[str], float]
) -> SeedMeasurement:
    contribution = accuracies[_NOTHING] - accuracies[frozenset({slot})]
    return SeedMeasurement(
        slot=slot, contribution=contribution, interaction_sum=_interaction(active, accuracies)
    )


def _interaction(active: Sequence[str], accuracies: Mapping[frozenset[str], float]) -> float | None:
    """I_ij = f(ij) - f(i) - f(j) + f(none) of two seeds; an empty sum for one alone."""
    if len(active) == 1:
        return 0.0
    if len(active) != 2:
        return None
    first, second = (frozenset({slot}) for slot in active)
    both_off = accuracies[first | second]
    return accuracies[_NOTHING] - accuracies[second] - accuracies[first] + both_off


def _described(
    active: Sequence[str], accuracies: Mapping[frozenset[str], float]
) -> tuple[CounterfactualConfig, ...]:
    return tuple(
        CounterfactualConfig(
            active=tuple(slot for slot in active if slot not in off), accuracy=accuracy
        )
        for off, accuracy in accuracies.items()
    )
