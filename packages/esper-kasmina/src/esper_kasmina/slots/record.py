"""Everything a slot remembers besides its modules."""

from __future__ import annotations

import copy
from collections import deque
from dataclasses import dataclass, field, replace

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.blueprints import why_unfit
from esper_kasmina.errors import KasminaError
from esper_kasmina.slots.evidence import STORED, SlotEvidence
from esper_leyline import (
    OCCUPIED_STAGES,
    LifecycleRules,
    Op,
    SeedEvent,
    SeedEventKind,
    SeedReport,
    SeedStage,
    SeedState,
)
from esper_leyline.lifecycle.gates import GateResult
from esper_leyline.lifecycle.machine import evaluate_gate, permitted_ops

EVENTS_KEPT = 1024
"""Most events that a slot or a host keeps until they are read; the oldest are dropped."""

PAGE = 4096
"""A slot's packed state is a multiple of this many bytes; one is enough without events."""


@dataclass(slots=True, kw_only=True)
class SlotRecord:
    """The lifecycle's state, what was measured, and what happened.

    Attributes:
        slot: The slot's id.
        state: What the lifecycle knows.
        evidence: What was measured of the present seed.
        germinations: Seeds that have germinated here so far.
        parameters: Size of the present seed.
        alpha_at_tick: Alpha when the last epoch ended.
        alpha_velocity: Its change since the epoch before.
        events: What happened since somebody last asked.
    """

    __pydantic_config__ = STORED

    slot: str
    state: SeedState = field(default_factory=SeedState)
    evidence: SlotEvidence = field(default_factory=SlotEvidence)
    germinations: int = 0
    parameters: int = 0
    alpha_at_tick: float = 0.0
    alpha_velocity: float = 0.0
    events: deque[SeedEvent] = field(default_factory=deque)

    def __post_init__(self) -> None:
        # Events that come from a file do not know how many of them are kept.
        self.events = deque(self.events, maxlen=EVENTS_KEPT)

    def copy(self) -> SlotRecord:
        """Returns a record that goes its own way from here."""
        return replace(self, evidence=copy.copy(self.evidence))

    def forget_seed(self) -> None:
        """Resets what belongs to one seed; the host's own accuracy stays known."""
        self.evidence = SlotEvidence(accuracy=self.evidence.accuracy)
        self.parameters = 0

    def end_epoch(self) -> None:
        """Increments the age of measurements and stores the change of alpha."""
        self.evidence.end_epoch()
        occupied = self.state.blueprint is not None
        self.alpha_velocity = self.state.alpha - self.alpha_at_tick if occupied else 0.0
        self.alpha_at_tick = self.state.alpha

    def note(
        self,
        kind: SeedEventKind,
        state: SeedState,
        *,
        source: SeedStage,
        target: SeedStage,
        gate: GateResult | None = None,
    ) -> None:
        """Writes down an event of the seed that ``state`` describes."""
        self.events.append(
            SeedEvent(
                kind=kind,
                slot=self.slot,
                source=source,
                target=target,
                blueprint=state.blueprint,
                parameters=self.parameters,
                age=state.age,
                alpha=state.alpha,
                contribution=self.evidence.contribution,
                gate=gate,
            )
        )

    def take_events(self) -> tuple[SeedEvent, ...]:
        """Returns the events in order and forgets them."""
        events = tuple(self.events)
        self.events.clear()
        return events

    def report(self, rules: LifecycleRules, closed: frozenset[Op]) -> SeedReport:
        """Describes the slot; without a seed, measurements are ``None``."""
        state, evidence = self.state, self.evidence
        gates, gradients, ramp = evidence.for_gates(), evidence.gradients, state.ramp
        return SeedReport(
            slot=self.slot,
            stage=state.stage,
            permitted=tuple(sorted(permitted_ops(state, gates, rules) - closed)),
            blueprint=state.blueprint,
            style=state.style,
            tempo=state.tempo,
            alpha=state.alpha,
            alpha_target=None if ramp is None else ramp.target,
            alpha_mode=state.alpha_mode,
            alpha_velocity=self.alpha_velocity,
            ramp_steps=0 if ramp is None else ramp.steps,
            ramp_done=0 if ramp is None else ramp.done,
            pruning=state.pruning,
            epochs_in_stage=state.epochs_in_stage,
            age=state.age,
            parameters=self.parameters,
            contribution=evidence.contribution,
            contribution_velocity=evidence.contribution_velocity,
            counterfactual_age=evidence.counterfactual_age,
            interaction_sum=evidence.interaction_sum,
            stage_improvement=None if state.blueprint is None else evidence.stage_improvement,
            gradient_norm=None if gradients is None else gradients.norm,
            gradient_health=None if gradients is None else gradients.health,
            gradient_vanishing=None if gradients is None else gradients.vanishing,
            gradient_exploding=None if gradients is None else gradients.exploding,
            previous_gradient_health=evidence.previous_health,
            gate=evaluate_gate(state, gates, rules),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSlot:
    """What a slot's ``state_dict`` says besides its seed's tensors."""

    __pydantic_config__ = STORED

    activations: ActivationSpec | None
    record: SlotRecord
    module_path: str | None = None


_STATE = TypeAdapter(StoredSlot)
_BLENDED = OCCUPIED_STAGES - {SeedStage.GERMINATED, SeedStage.TRAINING}


def pack(state: StoredSlot) -> Tensor:
    """Writes a slot's state as JSON into a tensor of bytes, which every format can store.

    Spaces fill it up to whole pages, because ``torch.distributed.checkpoint`` loads tensors
    of the very size that the model has now.
    """
    written = _STATE.dump_json(state)
    pages = -(-len(written) // PAGE)
    return torch.frombuffer(bytearray(written.ljust(pages * PAGE)), dtype=torch.uint8)


def unpack(packed: object, *, slot: str) -> StoredSlot:
    """Reads what ``pack`` wrote.

    Raises:
        KasminaError: If it is of another slot, or cannot be read.
    """
    if not isinstance(packed, Tensor) or packed.dtype is not torch.uint8:
        raise _unreadable(slot, "it is no tensor of bytes")
    try:
        state = _STATE.validate_json(bytes(packed.tolist()))
    except ValidationError as error:
        first = error.errors()[0]
        raise _unreadable(slot, ": ".join((*map(str, first["loc"]), first["msg"]))) from None
    except KasminaError as error:
        raise _unreadable(slot, str(error)) from None
    contradiction = _contradiction(state)
    if contradiction is not None:
        raise _unreadable(slot, contradiction)
    if state.record.slot != slot:
        raise KasminaError(
            f"slot '{slot}' was given the state of slot '{state.record.slot}'; "
            "give the model the same slots after the same submodules"
        )
    return state


def _unreadable(slot: str, reason: str) -> KasminaError:
    return KasminaError(
        f"the state of slot '{slot}' cannot be read ({reason}); "
        "it was written by another version, or is damaged"
    )


def _contradiction(stored: StoredSlot) -> str | None:
    """Returns what can be true of no slot."""
    state, known = stored.record.state, stored.activations
    holds, blended = state.stage in OCCUPIED_STAGES, state.stage in _BLENDED
    parts = (state.blueprint, state.style, state.tempo, state.blend_target)
    if state.stage is SeedStage.UNKNOWN or any((part is None) == holds for part in parts):
        return f"a seed is half described, in stage {state.stage.name}"
    if blended != (state.ramp is not None) or (state.pruning and not blended):
        return f"alpha cannot be as it is in stage {state.stage.name}"
    if state.blueprint is not None:
        if known is None:
            return "a seed grows where nothing is known to flow"
        return why_unfit(state.blueprint, known.topology)
    return None
