"""How events change what is known of one environment and its slots."""

from __future__ import annotations

import math
from dataclasses import replace

from esper_karn.state.run import EnvironmentState, SlotState
from esper_leyline import SeedEvent, SeedReport, SeedStage
from esper_leyline.events import EpisodeOutcome, EpochCompleted, Event


def with_epoch(
    environment: EnvironmentState, event: Event, payload: EpochCompleted
) -> EnvironmentState:
    """Takes in an epoch of training."""
    old, host = _in_round(environment, event), payload.host
    # Built whole: several times faster than ``replace``, for the commonest event.
    return EnvironmentState(
        index=old.index,
        round=old.round,
        epoch=event.epoch or 0,
        ended=old.ended,
        train_loss=host.train_loss,
        val_loss=host.val_loss,
        val_accuracy=host.val_accuracy,
        best_accuracy=_better(old.best_accuracy, host.val_accuracy),
        host_parameters=host.host_parameters,
        fossil_parameters=host.fossil_parameters,
        live_parameters=host.live_parameters,
        slots=tuple(_slot(report) for report in host.seeds),
        germinated=old.germinated,
        fossilized=old.fossilized,
        pruned=old.pruned,
        last_return=old.last_return,
    )


def with_outcome(
    environment: EnvironmentState, event: Event, payload: EpisodeOutcome
) -> EnvironmentState:
    """Takes in the end of an episode."""
    return replace(
        _in_round(environment, event),
        epoch=event.epoch or 0,
        ended=payload.ended,
        val_accuracy=payload.host.val_accuracy,
        best_accuracy=payload.best_val_accuracy,
        germinated=payload.germinated,
        fossilized=payload.fossilized,
        pruned=payload.pruned,
        host_parameters=payload.host.host_parameters,
        fossil_parameters=payload.host.fossil_parameters,
        last_return=payload.episode_return,
    )


def seed_germinated(
    environment: EnvironmentState, event: Event, payload: SeedEvent
) -> EnvironmentState:
    """Takes in the germination of a seed."""
    seed = SlotState(
        slot=payload.slot,
        stage=SeedStage.GERMINATED,
        blueprint=payload.blueprint,
        alpha=0.0,
        parameters=payload.parameters,
    )
    return _with_seed(_in_round(environment, event), seed, germinated=1)


def seed_stage_changed(
    environment: EnvironmentState, event: Event, payload: SeedEvent
) -> EnvironmentState:
    """Takes in a seed's move to another stage."""
    environment = _in_round(environment, event)
    if payload.target is SeedStage.DORMANT:
        return _with_seed(environment, SlotState(slot=payload.slot))
    old = _find(environment.slots, payload.slot)
    seed = SlotState(
        slot=old.slot,
        stage=payload.target,
        blueprint=old.blueprint,
        alpha=payload.alpha,
        parameters=old.parameters,
        contribution=old.contribution,
    )
    return _with_seed(environment, seed)


def seed_fossilized(
    environment: EnvironmentState, event: Event, payload: SeedEvent
) -> EnvironmentState:
    """Takes in a seed that became part of its host."""
    seed = _settled(payload, SeedStage.FOSSILIZED)
    return _with_seed(_in_round(environment, event), seed, fossilized=1)


def seed_pruned(
    environment: EnvironmentState, event: Event, payload: SeedEvent
) -> EnvironmentState:
    """Takes in a seed's removal."""
    seed = _settled(payload, SeedStage.PRUNED)
    return _with_seed(_in_round(environment, event), seed, pruned=1)


def _with_seed(
    old: EnvironmentState,
    seed: SlotState,
    *,
    germinated: int = 0,
    fossilized: int = 0,
    pruned: int = 0,
) -> EnvironmentState:
    """Returns the environment with one slot changed and its counts moved on."""
    return EnvironmentState(
        index=old.index,
        round=old.round,
        epoch=old.epoch,
        ended=old.ended,
        train_loss=old.train_loss,
        val_loss=old.val_loss,
        val_accuracy=old.val_accuracy,
        best_accuracy=old.best_accuracy,
        host_parameters=old.host_parameters,
        fossil_parameters=old.fossil_parameters,
        live_parameters=old.live_parameters,
        slots=_with_slot(old.slots, seed),
        germinated=old.germinated + germinated,
        fossilized=old.fossilized + fossilized,
        pruned=old.pruned + pruned,
        last_return=old.last_return,
    )


def _in_round(environment: EnvironmentState, event: Event) -> EnvironmentState:
    """Returns the environment as it starts a round, or as it is within it."""
    number = event.round or 0
    if environment.round == number:
        return environment
    return EnvironmentState(
        index=environment.index,
        round=number,
        host_parameters=environment.host_parameters,
        last_return=environment.last_return,
    )


def _slot(report: SeedReport) -> SlotState:
    return SlotState(
        slot=report.slot,
        stage=report.stage,
        blueprint=report.blueprint,
        alpha=report.alpha,
        parameters=report.parameters,
        contribution=report.contribution,
    )


def _settled(payload: SeedEvent, stage: SeedStage) -> SlotState:
    return SlotState(
        slot=payload.slot,
        stage=stage,
        blueprint=payload.blueprint,
        parameters=payload.parameters,
        contribution=payload.contribution,
    )


def _find(slots: tuple[SlotState, ...], name: str) -> SlotState:
    return next((slot for slot in slots if slot.slot == name), SlotState(slot=name))


def _with_slot(slots: tuple[SlotState, ...], seed: SlotState) -> tuple[SlotState, ...]:
    for place, slot in enumerate(slots):
        if slot.slot == seed.slot:
            return (*slots[:place], seed, *slots[place + 1 :])
    return (*slots, seed)


def _better(best: float | None, value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return best
    return value if best is None else max(best, value)
