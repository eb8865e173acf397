"""A slot: a place in a network where a seed can grow."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from esper_kasmina.blending import add, add_overridden, isolate
from esper_kasmina.blueprints.layers import check_dimensions
from esper_kasmina.errors import KasminaError
from esper_kasmina.gradients import GradientMeasurement, measure_gradients
from esper_kasmina.randomness import seeded
from esper_kasmina.record import SlotRecord
from esper_kasmina.seed import Seed
from esper_kasmina.support import unsupported
from esper_leyline import (
    ACTIVE_STAGES,
    GATE_OF_STAGE,
    LIVE_STAGES,
    OCCUPIED_STAGES,
    CommandResult,
    Effect,
    LifecycleInput,
    LifecycleRules,
    Op,
    Prune,
    SeedEvent,
    SeedEventKind,
    SeedMeasurement,
    SeedReport,
    SeedStage,
    SeedState,
    SlotCommand,
    Tick,
    Transition,
    advance,
    parse_slot,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSnapshot:
    """A slot as it stood, module and all; made by ``SeedSlot.snapshot``."""

    record: SlotRecord
    seed: Seed | None


class SeedSlot(nn.Module):
    """Passes activations through, and grows one seed in them on command.

    Put it anywhere in a model where activations are [B, channels, ...]. The lifecycle
    is ``esper_leyline.advance``; the slot performs its effects on real modules. A
    training loop calls, an epoch at a time: ``apply_command``, ``sync_optimizer``,
    training, ``record_gradients``, ``record_validation``, ``tick``, ``sync_optimizer``.

    Attributes:
        name: The slot's id, such as ``r0c0``.
        active: Whether a seed takes part in the forward pass.
        alpha: How strongly it is blended in.
    """

    _place: Tensor

    def __init__(
        self,
        name: str,
        channels: int,
        *,
        dimensions: int = 2,
        rules: LifecycleRules | None = None,
        seed: int = 0,
    ) -> None:
        """Builds an empty slot.

        Args:
            name: The slot's id, ``r<row>c<col>``, unique in its model.
            channels: Size of axis 1 of the activations.
            dimensions: Spatial dimensions: 1 for signals, 2 for images.
            rules: What the lifecycle accepts; ``None`` takes the permissive defaults.
            seed: Together with the name and the count of germinations it decides the
                weights of every seed born here.

        Raises:
            LeylineError: If the name is no slot id.
            KasminaError: If the sizes make no sense.
        """
        super().__init__()
        parse_slot(name)
        if channels < 1:
            raise KasminaError(f"a slot of {channels} channels cannot hold a seed; give at least 1")
        self.name = name
        self.channels = channels
        self.dimensions = check_dimensions(dimensions)
        self.rules = LifecycleRules() if rules is None else rules
        self.random_seed = seed
        self.seed: Seed | None = None
        # Follows the model to its device and dtype, so that newborn seeds do too.
        self.register_buffer("_place", torch.empty(0), persistent=False)
        self._record = SlotRecord(slot=name)
        self._settle()

    def forward(self, hidden: Tensor, alpha: Tensor | None = None) -> Tensor:
        """Runs the slot.

        Args:
            hidden: [B, C, ...].
            alpha: [B] overrides of the blend strength; NaN keeps the seed's own.

        Returns:
            [B, C, ...].
        """
        if not self.active:
            return hidden
        seed = self.seed
        assert seed is not None
        if alpha is not None:
            return add_overridden(hidden, seed, self.alpha, alpha)
        if self.alpha == 0.0:
            return isolate(hidden, seed)
        return add(hidden, seed, self.alpha)

    @property
    def state(self) -> SeedState:
        """What the lifecycle knows of this slot."""
        return self._record.state

    @property
    def stage(self) -> SeedStage:
        """Where the seed stands."""
        return self._record.state.stage

    @property
    def occupied(self) -> bool:
        """Whether the slot holds a module."""
        return self._record.state.stage in OCCUPIED_STAGES

    @property
    def live(self) -> bool:
        """Whether the slot holds a seed that may still be pruned."""
        return self._record.state.stage in LIVE_STAGES

    def apply_command(self, command: SlotCommand) -> CommandResult:
        """Carries out a lifecycle command, or says why not; a refusal changes nothing."""
        reason = unsupported(command)
        if reason is not None:
            return CommandResult(accepted=False, reason=reason)
        transition = self._step(command)
        return CommandResult(accepted=transition.accepted, reason=transition.rejection)

    def tick(self) -> None:
        """Ends an epoch: ramps, embargoes and auto-forwarding move on by one."""
        self._step(Tick())
        self._record.end_epoch()

    def prune_now(self) -> None:
        """Removes a live seed at once, whatever its age; does nothing without one."""
        if not self.live:
            return
        # A ramp-down that is under way gives way to the immediate removal.
        self._record.state = replace(self.state, pruning=False)
        self._step(Prune(), self.rules.model_copy(update={"min_prune_age": 0}))

    def record_gradients(self, host: GradientMeasurement | None = None) -> None:
        """Measures the seed's gradients where they stand; called once an epoch.

        Args:
            host: The rest of the model measured the same way, for the ratio that the
                strict gates ask for (``measure_gradients(own_parameters)``).
        """
        if self.seed is not None:
            self._record.evidence.record_gradients(measure_gradients(self.seed.parameters()), host)

    def record_validation(
        self, accuracy: float, measurement: SeedMeasurement | None = None
    ) -> None:
        """Takes in what validation said.

        Args:
            accuracy: Of the whole model, in percent.
            measurement: What it said of this slot's seed, if that was measured.

        Raises:
            KasminaError: If a measurement is given for a slot without a seed.
        """
        if measurement is not None and not self.occupied:
            raise KasminaError(
                f"slot '{self.name}' is {self.stage.name} and holds no seed to be measured; "
                "measure occupied slots only"
            )
        self._record.evidence.record_validation(accuracy, measurement)

    def take_events(self) -> tuple[SeedEvent, ...]:
        """Returns what happened since the last call, in order, and forgets it."""
        return self._record.take_events()

    def report(self, closed: frozenset[Op] = frozenset()) -> SeedReport:
        """Describes the slot as it stands.

        Args:
            closed: Ops that the slot's owner refuses now, whatever the lifecycle says.
        """
        return self._record.report(self.rules, closed)

    def snapshot(self) -> SlotSnapshot:
        """Returns a copy of everything that ``restore`` needs."""
        return SlotSnapshot(record=self._record.copy(), seed=copy.deepcopy(self.seed))

    def restore(self, snapshot: SlotSnapshot) -> None:
        """Puts the slot back to a snapshot, which can be used again.

        A seed that was there then and still is keeps its parameter objects, so an
        optimiser's groups stay valid.
        """
        self._restore_seed(snapshot)
        self._record = snapshot.record.copy()
        self._settle()

    def _restore_seed(self, snapshot: SlotSnapshot) -> None:
        kept = snapshot.seed
        same = (
            kept is not None
            and self.seed is not None
            and snapshot.record.germinations == self._record.germinations
            and kept.frozen == self.seed.frozen
        )
        if kept is not None and self.seed is not None and same:
            self.seed.load_state_dict(kept.state_dict())
            self.seed.zero_grad(set_to_none=True)
        else:
            self.seed = copy.deepcopy(kept)
        if self.seed is not None:
            self.seed.to(self._place.device).train(self.training)

    def _step(self, event: LifecycleInput, rules: LifecycleRules | None = None) -> Transition:
        record = self._record
        before = record.state
        transition = advance(
            before, event, evidence=record.evidence.for_gates(), rules=rules or self.rules
        )
        record.state = transition.state
        if isinstance(event, Tick) and before.blueprint is not None:
            # A seed that goes at the end of an epoch has lived through it.
            before = replace(before, age=before.age + 1)
        self._perform(before, transition)
        return transition

    def _perform(self, before: SeedState, transition: Transition) -> None:
        record, source = self._record, before.stage
        for gate in transition.gates:
            ahead = GATE_OF_STAGE[source][1]
            kind = SeedEventKind.GATE_EVALUATED
            record.note(kind, before, source=source, target=ahead, gate=gate)
        for effect in transition.effects:
            self._carry_out(effect, before)
        for stage in transition.stages:
            kind = SeedEventKind.STAGE_CHANGED
            record.note(kind, record.state, source=source, target=stage)
            record.evidence.enter_stage()
            source = stage
        self._settle()

    def _carry_out(self, effect: Effect, before: SeedState) -> None:
        record, source = self._record, before.stage
        match effect:
            case Effect.CREATE_MODULE:
                self._create()
                kind, target = SeedEventKind.GERMINATED, SeedStage.GERMINATED
                record.note(kind, record.state, source=source, target=target)
            case Effect.REMOVE_MODULE:
                kind, target = SeedEventKind.PRUNED, SeedStage.PRUNED
                record.note(kind, before, source=source, target=target)
                self.seed = None
                record.forget_seed()
            case Effect.FOSSILIZE_MODULE:
                kind, target = SeedEventKind.FOSSILIZED, SeedStage.FOSSILIZED
                record.note(kind, record.state, source=source, target=target)
            case Effect.FREEZE_PARAMETERS:
                assert self.seed is not None
                self.seed.freeze()
            case Effect.SET_BLEND:
                pass  # every supported style adds; the curve is in the lifecycle's state

    def _create(self) -> None:
        record = self._record
        blueprint = record.state.blueprint
        assert blueprint is not None
        record.forget_seed()
        record.germinations += 1
        with seeded(self.random_seed, self.name, record.germinations):
            seed = Seed(blueprint, self.channels, dimensions=self.dimensions)
        self.seed = seed.to(self._place).train(self.training)
        record.parameters = seed.size

    def _settle(self) -> None:
        # Plain attributes, because the forward pass reads them for every batch.
        self.active = self.stage in ACTIVE_STAGES
        self.alpha = self.state.alpha
