"""Detects anomalies in the metrics of an update.

Entropies and ratios are taken over the steps at which a head had a choice, so a round without any
has no anomaly. Each head is checked on its own: a mean over heads hides one that has collapsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from esper_leyline import BUILT_IN_BLUEPRINTS, head_sizes
from esper_leyline.events import (
    EntropyCollapse,
    GradientPathology,
    NumericalInstability,
    PPOUpdate,
    RatioCollapse,
    RatioExplosion,
    ValueCollapse,
)
from esper_leyline.health import (
    LARGEST_GRADIENT_NORM,
    LEAST_ENTROPY,
    LEAST_EXPLAINED_VARIANCE,
    LEAST_GRADIENT_KEPT,
    collapsed_entropy,
)

Anomaly = (
    RatioExplosion
    | RatioCollapse
    | ValueCollapse
    | EntropyCollapse
    | GradientPathology
    | NumericalInstability
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyThresholds:
    """Limits beyond which a metric is an anomaly.

    Attributes:
        ratio_max: Largest probability ratio of a head.
        ratio_min: Smallest probability ratio of a head.
        explained_variance: Smallest explained variance of the critic.
        warm_up_rounds: Number of first rounds in which it is not checked.
        gradient_max: Largest gradient norm.
        gradient_min: Smallest gradient norm.
        gradient_kept: Smallest share of the gradients that clipping leaves.
        entropy: Smallest entropy by head, between 0 and 1; ``LEAST_ENTROPY`` for other heads.
    """

    ratio_max: float = 5.0
    ratio_min: float = 0.1
    explained_variance: float = LEAST_EXPLAINED_VARIANCE
    warm_up_rounds: int = 10
    gradient_max: float = LARGEST_GRADIENT_NORM
    gradient_min: float = 1e-7
    gradient_kept: float = LEAST_GRADIENT_KEPT
    entropy: Mapping[str, float] = field(default_factory=dict)


def thresholds_for(
    floors: Mapping[str, float], slots: int, blueprints: Sequence[str] = BUILT_IN_BLUEPRINTS
) -> AnomalyThresholds:
    """Returns thresholds for a policy whose probability floors keep its entropy up.

    Args:
        floors: Smallest probability of an open choice, by head.
        slots: Number of enabled slots.
        blueprints: The choices of the blueprint head.
    """
    entropy = {
        head: collapsed_entropy(floors[head], size)
        for head, size in head_sizes(slots, blueprints).items()
    }
    return AnomalyThresholds(entropy=entropy)


def detect_anomalies(
    update: PPOUpdate,
    thresholds: AnomalyThresholds,
    *,
    round_number: int,
    consecutive_skips: int = 0,
) -> tuple[Anomaly, ...]:
    """Returns the anomalies of an update, worst first.

    Args:
        update: The metrics of the update.
        thresholds: Limits of the metrics.
        round_number: Round of the update, from 1.
        consecutive_skips: Skipped updates in a row, including this one.
    """
    return (
        *_instabilities(update, consecutive_skips),
        *_ratios(update, thresholds),
        *_gradients(update, thresholds),
        *_clipping(update, thresholds),
        *_values(update, thresholds, round_number),
        *_entropies(update, thresholds),
    )


def _instabilities(update: PPOUpdate, consecutive_skips: int) -> Iterator[Anomaly]:
    if update.skipped is not None:
        yield NumericalInstability(where=update.skipped, consecutive=consecutive_skips)


def _ratios(update: PPOUpdate, thresholds: AnomalyThresholds) -> Iterator[Anomaly]:
    largest, smallest = update.ratio_max, update.ratio_min
    if largest is not None and largest > thresholds.ratio_max:
        yield RatioExplosion(ratio=largest, threshold=thresholds.ratio_max)
    if smallest is not None and smallest < thresholds.ratio_min:
        yield RatioCollapse(ratio=smallest, threshold=thresholds.ratio_min)


def _gradients(update: PPOUpdate, thresholds: AnomalyThresholds) -> Iterator[Anomaly]:
    chosen = {head for head, entropy in update.head_entropy.items() if entropy is not None}
    norms = {head: norm for head, norm in update.head_gradient_norm.items() if head in chosen}
    for where, norm in {"policy": update.gradient_norm, **norms}.items():
        if norm is None:
            continue
        if not norm <= thresholds.gradient_max:
            limit = thresholds.gradient_max
        elif norm < thresholds.gradient_min:
            limit = thresholds.gradient_min
        else:
            continue
        yield GradientPathology(where=where, norm=norm, threshold=limit)


def _clipping(update: PPOUpdate, thresholds: AnomalyThresholds) -> Iterator[Anomaly]:
    kept, limit = update.gradient_kept, thresholds.gradient_kept
    if kept is not None and kept < limit:
        yield GradientPathology(where="clipping", norm=kept, threshold=limit)


def _values(
    update: PPOUpdate, thresholds: AnomalyThresholds, round_number: int
) -> Iterator[Anomaly]:
    explained, limit = update.explained_variance, thresholds.explained_variance
    if explained is not None and round_number > thresholds.warm_up_rounds and explained < limit:
        yield ValueCollapse(explained_variance=explained, threshold=limit)


def _entropies(update: PPOUpdate, thresholds: AnomalyThresholds) -> Iterator[Anomaly]:
    for head, entropy in update.head_entropy.items():
        limit = thresholds.entropy.get(head, LEAST_ENTROPY)
        if entropy is not None and entropy < limit:
            yield EntropyCollapse(head=head, entropy=entropy, threshold=limit)
