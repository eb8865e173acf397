"""A host's own account of its seeds, as the events that go to telemetry."""

from __future__ import annotations

from esper_leyline import Blueprint, SeedEvent, SeedEventKind, built_in
from esper_leyline.events import (
    SeedFossilized,
    SeedGateEvaluated,
    SeedGerminated,
    SeedPruned,
    SeedStageChanged,
)
from esper_simic.errors import SimicError

SeedPayload = SeedGerminated | SeedStageChanged | SeedGateEvaluated | SeedFossilized | SeedPruned


def seed_payload(event: SeedEvent, *, round_number: int, epoch: int) -> SeedPayload:
    """Translates what happened to a seed.

    Raises:
        SimicError: If the event lacks what its kind is about.
    """
    match event.kind:
        case SeedEventKind.GERMINATED:
            return SeedGerminated(
                round=round_number,
                epoch=epoch,
                slot=event.slot,
                blueprint=_blueprint(event),
                parameters=event.parameters,
            )
        case SeedEventKind.STAGE_CHANGED:
            return SeedStageChanged(
                round=round_number,
                epoch=epoch,
                slot=event.slot,
                source=event.source,
                target=event.target,
                alpha=event.alpha,
            )
        case SeedEventKind.GATE_EVALUATED:
            if event.gate is None:
                raise SimicError(f"the gate event of slot {event.slot} names no gate")
            return SeedGateEvaluated(
                round=round_number, epoch=epoch, slot=event.slot, result=event.gate
            )
        case SeedEventKind.FOSSILIZED | SeedEventKind.PRUNED:
            model = SeedFossilized if event.kind is SeedEventKind.FOSSILIZED else SeedPruned
            return model(
                round=round_number,
                epoch=epoch,
                slot=event.slot,
                blueprint=_blueprint(event),
                parameters=event.parameters,
                age=event.age,
                contribution=event.contribution,
            )


def _blueprint(event: SeedEvent) -> Blueprint:
    if event.blueprint is None:
        raise SimicError(f"the {event.kind.value} event of slot {event.slot} names no blueprint")
    return built_in(event.blueprint)
