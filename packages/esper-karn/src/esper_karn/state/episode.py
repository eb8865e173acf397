"""One episode of one host: its measurements, and what its slots went through."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from esper_karn.state.series import Series
from esper_karn.state.stamped import Stamped
from esper_leyline import (
    LIVE_STAGES,
    OCCUPIED_STAGES,
    EpisodeEnd,
    SeedEvent,
    SeedEventKind,
    SeedReport,
    SeedStage,
)
from esper_leyline.events import CounterfactualMatrix, EpisodeOutcome, EpisodeStarted
from esper_leyline.reports import HostReport, ShapleyValues
from esper_leyline.wire import Float

ACCURACY_CAPACITY = 256
"""Buckets of an episode's accuracy."""

ALPHA_CAPACITY = 64
"""Buckets of a slot's alpha."""

LIFELINES = 64
"""Slots of an episode that are followed; a host has no more."""

SPANS = 64
"""Largest number of stage spans kept of a slot, the latest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpan:
    """A stay of a slot in one stage; it ends where the slot's next span starts.

    Attributes:
        start: The first epoch in that stage.
        blueprint: Of the seed in the slot, ``None`` without one.
        contribution: The seed's contribution when it entered the stage, in points; ``None``
            if not measured.
    """

    stage: SeedStage
    start: int
    blueprint: str | None = None
    contribution: Float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifeline:
    """What one slot went through in an episode.

    Attributes:
        spans: In order, at most ``SPANS``; the slot was dormant before the first one.
        alpha: Alpha by epoch, of seeds that may still be pruned.
    """

    slot: str
    spans: tuple[StageSpan, ...] = ()
    alpha: Series = field(default=Series(capacity=ALPHA_CAPACITY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """An episode of one host.

    Attributes:
        round: Number of its round, from 1.
        started: Random seed and device of the host.
        epochs: Epochs done.
        ended: Why it is over, ``None`` while it is running.
        host: The host after the latest epoch, ``None`` before the first.
        slots: The slots after the latest event, so newer than ``host.seeds`` between epochs.
        best_accuracy: Best validation accuracy, in percent.
        accuracy: Validation accuracy by epoch, in percent.
        lifelines: One per slot.
        counterfactuals: The latest counterfactual accuracies.
        shapley: The latest Shapley values.
        germinated: Seeds germinated; likewise ``fossilized`` and ``pruned``.
    """

    round: int = 0
    started: EpisodeStarted | None = None
    epochs: int = 0
    ended: EpisodeEnd | None = None
    host: HostReport | None = None
    slots: tuple[SeedReport, ...] = ()
    best_accuracy: Float | None = None
    accuracy: Series = field(default=Series(capacity=ACCURACY_CAPACITY))
    lifelines: tuple[Lifeline, ...] = ()
    counterfactuals: Stamped[CounterfactualMatrix] | None = None
    shapley: Stamped[ShapleyValues] | None = None
    germinated: int = 0
    fossilized: int = 0
    pruned: int = 0


def with_epoch(episode: Episode, epoch: int, host: HostReport, at: int = 0) -> Episode:
    """Returns the episode after one more epoch of training."""
    return _copy(
        episode,
        epochs=epoch,
        host=host,
        slots=host.seeds,
        best_accuracy=_best(episode.best_accuracy, host.val_accuracy),
        accuracy=episode.accuracy.add(epoch, host.val_accuracy, at),
        lifelines=_with_alpha(episode.lifelines, epoch, host.seeds, at),
    )


def with_counterfactuals(episode: Episode, matrix: Stamped[CounterfactualMatrix]) -> Episode:
    """Returns the episode with new counterfactual accuracies."""
    return _copy(episode, counterfactuals=matrix)


def with_outcome(episode: Episode, epochs: int, outcome: EpisodeOutcome) -> Episode:
    """Returns the episode after its end."""
    return replace(
        episode,
        epochs=epochs,
        ended=outcome.ended,
        host=outcome.host,
        slots=outcome.host.seeds,
        best_accuracy=outcome.best_val_accuracy,
        germinated=outcome.germinated,
        fossilized=outcome.fossilized,
        pruned=outcome.pruned,
    )


def with_seed_event(episode: Episode, epoch: int, event: SeedEvent) -> Episode:
    """Returns the episode after a lifecycle event of a seed, with its slots as they were."""
    if event.kind is SeedEventKind.STAGE_CHANGED:
        return _copy(episode, lifelines=_with_span(episode.lifelines, epoch, event))
    return _copy(
        episode,
        germinated=episode.germinated + (event.kind is SeedEventKind.GERMINATED),
        fossilized=episode.fossilized + (event.kind is SeedEventKind.FOSSILIZED),
        pruned=episode.pruned + (event.kind is SeedEventKind.PRUNED),
    )


def with_slots_after(episode: Episode, events: Iterable[SeedEvent]) -> Episode:
    """Returns the episode with its slots as lifecycle events left them."""
    slots = episode.slots
    for event in events:
        slots = _with_slot(slots, event)
    return _copy(episode, slots=slots)


def better_episode(best: Episode | None, episode: Episode) -> Episode:
    """Returns the episode with the higher final accuracy, the earlier one if they are equal."""
    if best is None:
        return episode
    return episode if _final_accuracy(episode) > _final_accuracy(best) else best


def _copy(
    episode: Episode,
    *,
    epochs: int | None = None,
    host: HostReport | None = None,
    slots: tuple[SeedReport, ...] | None = None,
    best_accuracy: float | None = None,
    accuracy: Series | None = None,
    lifelines: tuple[Lifeline, ...] | None = None,
    counterfactuals: Stamped[CounterfactualMatrix] | None = None,
    germinated: int | None = None,
    fossilized: int | None = None,
    pruned: int | None = None,
) -> Episode:
    """Returns the episode with other parts: several times faster than ``replace``."""
    return Episode(
        round=episode.round,
        started=episode.started,
        epochs=episode.epochs if epochs is None else epochs,
        ended=episode.ended,
        host=host or episode.host,
        slots=episode.slots if slots is None else slots,
        best_accuracy=episode.best_accuracy if best_accuracy is None else best_accuracy,
        accuracy=episode.accuracy if accuracy is None else accuracy,
        lifelines=episode.lifelines if lifelines is None else lifelines,
        counterfactuals=counterfactuals or episode.counterfactuals,
        shapley=episode.shapley,
        germinated=episode.germinated if germinated is None else germinated,
        fossilized=episode.fossilized if fossilized is None else fossilized,
        pruned=episode.pruned if pruned is None else pruned,
    )


def _final_accuracy(episode: Episode) -> float:
    latest = episode.accuracy.latest
    return latest if latest is not None and math.isfinite(latest) else -math.inf


def _with_alpha(
    lifelines: tuple[Lifeline, ...], epoch: int, seeds: tuple[SeedReport, ...], at: int
) -> tuple[Lifeline, ...]:
    """Returns one lifeline per slot, in the order of the report."""
    known = {line.slot: line for line in lifelines}
    changed = []
    for seed in seeds[:LIFELINES]:
        line = known.get(seed.slot) or Lifeline(slot=seed.slot)
        if seed.stage in LIVE_STAGES:
            alpha = line.alpha.add(epoch, seed.alpha, at)
            line = Lifeline(slot=line.slot, spans=line.spans, alpha=alpha)
        changed.append(line)
    return tuple(changed)


def _with_span(
    lifelines: tuple[Lifeline, ...], epoch: int, event: SeedEvent
) -> tuple[Lifeline, ...]:
    occupied = event.target in OCCUPIED_STAGES
    span = StageSpan(
        stage=event.target,
        start=epoch,
        blueprint=event.blueprint if occupied else None,
        contribution=event.contribution if occupied else None,
    )
    lines = {line.slot: line for line in lifelines}
    line = lines.get(event.slot) or Lifeline(slot=event.slot)
    spans = (*line.spans, span)[-SPANS:]
    lines[event.slot] = Lifeline(slot=line.slot, spans=spans, alpha=line.alpha)
    return tuple(lines.values())[:LIFELINES]


def _with_slot(slots: tuple[SeedReport, ...], event: SeedEvent) -> tuple[SeedReport, ...]:
    by_slot = {slot.slot: slot for slot in slots}
    old = by_slot.get(event.slot) or SeedReport(slot=event.slot)
    by_slot[event.slot] = _slot_after(old, event)
    return tuple(by_slot.values())[:LIFELINES]


def _slot_after(old: SeedReport, event: SeedEvent) -> SeedReport:
    if event.kind is SeedEventKind.GATE_EVALUATED:
        return replace(old, gate=event.gate)
    if event.kind is SeedEventKind.STAGE_CHANGED:
        if event.target is SeedStage.DORMANT:
            return SeedReport(slot=old.slot)
        return replace(old, stage=event.target, alpha=event.alpha, age=event.age)
    return SeedReport(
        slot=event.slot,
        stage=event.target,
        blueprint=event.blueprint,
        alpha=event.alpha,
        age=event.age,
        parameters=event.parameters,
        contribution=event.contribution,
    )


def _best(best: float | None, value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return best
    return value if best is None else max(best, value)
