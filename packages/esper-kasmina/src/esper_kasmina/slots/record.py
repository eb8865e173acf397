"""The lifecycle of a slot: its state, measurements and events, without modules."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from esper_kasmina.slots.history import STORED, SeedHistory
from esper_leyline import (
    LifecycleRules,
    Op,
    SeedEvent,
    SeedEventKind,
    SeedReport,
    SeedStage,
    SeedState,
    Tick,
    advance,
)
from esper_leyline.commands import LifecycleInput
from esper_leyline.lifecycle.gates import GateResult
from esper_leyline.lifecycle.machine import (
    GATE_OF_STAGE,
    Effect,
    Transition,
    evaluate_gate,
    permitted_ops,
)

MAX_UNREAD_EVENTS = 1024
"""Largest number of unread events of a slot or a host; then the oldest are dropped."""


@dataclass(slots=True, kw_only=True)
class SlotRecord:
    """The state of the lifecycle, the seed's measurements, and the unread events.

    Attributes:
        slot: The slot's id.
        state: The state of the lifecycle.
        history: The measurements of the present seed.
        germinations: Number of seeds that have germinated here so far.
        parameters: Number of parameters of the present seed.
        alpha_at_tick: Alpha at the end of the last epoch.
        alpha_velocity: Its change since the epoch before.
        events: Events since ``take_events`` was last called.
    """

    __pydantic_config__ = STORED

    slot: str
    state: SeedState = field(default_factory=SeedState)
    history: SeedHistory = field(default_factory=SeedHistory)
    germinations: int = 0
    parameters: int = 0
    alpha_at_tick: float = 0.0
    alpha_velocity: float = 0.0
    events: deque[SeedEvent] = field(default_factory=deque)

    def __post_init__(self) -> None:
        # A deque that was read from a file has no maximum length.
        self.events = deque(self.events, maxlen=MAX_UNREAD_EVENTS)

    def copy(self) -> SlotRecord:
        """Returns an independent copy."""
        return replace(self, history=copy.copy(self.history))

    def advance(
        self, event: LifecycleInput, rules: LifecycleRules, perform: Callable[[Effect], None]
    ) -> Transition:
        """Gives a command or the end of an epoch to the lifecycle, and adds events.

        Args:
            event: The command, or the end of an epoch.
            rules: What the lifecycle accepts.
            perform: Performs an effect on the seed's module.
        """
        before = self.state
        transition = advance(before, event, evidence=self.history.evidence, rules=rules)
        self.state = transition.state
        if isinstance(event, Tick) and before.blueprint is not None:
            # A seed that is removed at the end of an epoch was trained in that epoch.
            before = replace(before, age=before.age + 1)
        source = before.stage
        for gate in transition.gates:
            kind, target = SeedEventKind.GATE_EVALUATED, GATE_OF_STAGE[source][1]
            self._add_event(kind, before, source=source, target=target, gate=gate)
        for effect in transition.effects:
            self._perform(effect, before, perform)
        for stage in transition.stages:
            kind = SeedEventKind.STAGE_CHANGED
            self._add_event(kind, self.state, source=source, target=stage)
            self.history.enter_stage()
            source = stage
        return transition

    def _perform(
        self, effect: Effect, before: SeedState, perform: Callable[[Effect], None]
    ) -> None:
        """Performs an effect and adds its event, which describes the seed while it exists."""
        source = before.stage
        if effect is Effect.REMOVE_MODULE:
            kind, stage = SeedEventKind.PRUNED, SeedStage.PRUNED
            self._add_event(kind, before, source=source, target=stage)
        perform(effect)
        if effect is Effect.REMOVE_MODULE:
            self._clear_seed()
        elif effect is Effect.CREATE_MODULE:
            kind, stage = SeedEventKind.GERMINATED, SeedStage.GERMINATED
            self._add_event(kind, self.state, source=source, target=stage)
        elif effect is Effect.FOSSILIZE_MODULE:
            kind, stage = SeedEventKind.FOSSILIZED, SeedStage.FOSSILIZED
            self._add_event(kind, self.state, source=source, target=stage)

    def start_seed(self) -> None:
        """Counts a germination, and resets what belongs to the seed before."""
        self._clear_seed()
        self.germinations += 1

    def _clear_seed(self) -> None:
        """Resets what belongs to one seed, but not the host's accuracy."""
        self.history = SeedHistory(accuracy=self.history.accuracy)
        self.parameters = 0

    def end_epoch(self) -> None:
        """Increments the age of measurements and stores the change of alpha."""
        self.history.end_epoch()
        occupied = self.state.blueprint is not None
        self.alpha_velocity = self.state.alpha - self.alpha_at_tick if occupied else 0.0
        self.alpha_at_tick = self.state.alpha

    def _add_event(
        self,
        kind: SeedEventKind,
        state: SeedState,
        *,
        source: SeedStage,
        target: SeedStage,
        gate: GateResult | None = None,
    ) -> None:
        """Adds an event of the seed that ``state`` describes."""
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
                contribution=self.history.contribution,
                gate=gate,
            )
        )

    def take_events(self) -> tuple[SeedEvent, ...]:
        """Returns the unread events in order, and clears them."""
        events = tuple(self.events)
        self.events.clear()
        return events

    def report(self, rules: LifecycleRules, closed: frozenset[Op]) -> SeedReport:
        """Returns the slot's state as a report; without a seed, measurements are ``None``."""
        state, history = self.state, self.history
        evidence, gradients, ramp = history.evidence, history.gradients, state.ramp
        return SeedReport(
            slot=self.slot,
            stage=state.stage,
            permitted=tuple(sorted(permitted_ops(state, evidence, rules) - closed)),
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
            contribution=history.contribution,
            contribution_velocity=history.contribution_velocity,
            counterfactual_age=history.counterfactual_age,
            interaction_sum=history.interaction_sum,
            stage_improvement=None if state.blueprint is None else history.stage_improvement,
            gradient_norm=None if gradients is None else gradients.norm,
            gradient_health=None if gradients is None else gradients.health,
            gradient_vanishing=None if gradients is None else gradients.vanishing,
            gradient_exploding=None if gradients is None else gradients.exploding,
            previous_gradient_health=history.previous_health,
            gate=evaluate_gate(state, evidence, rules),
        )
