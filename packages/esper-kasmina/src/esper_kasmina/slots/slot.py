"""A slot: a place in a network where a seed can grow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from numbers import Real

import torch
from torch import Tensor

from esper_kasmina.activations.inference import infer
from esper_kasmina.blueprints import BLUEPRINTS, find_fault, why_unfit
from esper_kasmina.checks import shown
from esper_kasmina.errors import KasminaError
from esper_kasmina.layers.seeding import seeded
from esper_kasmina.slots.blending import blend_overridden, isolate
from esper_kasmina.slots.gradients import GradientMeasurement, measure_gradients
from esper_kasmina.slots.parallel import check_reduced
from esper_kasmina.slots.storage import SlotStorage
from esper_leyline import (
    BUILT_IN_BLUEPRINTS,
    AlphaCurve,
    BlendStyle,
    CommandResult,
    Germinate,
    LifecycleRules,
    Op,
    Prune,
    SeedEvent,
    SeedEventKind,
    SeedMeasurement,
    SeedReport,
    SeedStage,
    SeedState,
    Tick,
    Topology,
    advance,
)
from esper_leyline.commands import LifecycleInput, SlotCommand
from esper_leyline.lifecycle.alpha import AlphaRamp
from esper_leyline.lifecycle.machine import GATE_OF_STAGE, Effect, Transition


class SeedSlot(SlotStorage):
    """Passes activations through, and grows one seed in them on command.

    Put it anywhere in a model where activations are feature maps, tokens or vectors. The
    lifecycle is ``esper_leyline.advance``; the slot performs its effects on real modules.
    A training loop calls, an epoch at a time: ``apply_command``, ``sync_optimizer``,
    training, ``record_gradients``, ``record_validation``, ``tick``, ``sync_optimizer``.

    Attributes:
        override: Strengths [B] for the passes of a model that cannot hand them in.
    """

    override: Tensor | None = None

    def forward(self, hidden: Tensor, alpha: Tensor | None = None) -> Tensor:
        """Runs the slot.

        Args:
            hidden: Activations.
            alpha: [B] overrides of the blend strength; NaN keeps the seed's own.

        Returns:
            Activations of the same shape.

        Raises:
            KasminaError: If the activations are not what they were.
        """
        known = self.activations
        if known is None:
            known = self.bind(infer(hidden, where=f"slot '{self.name}'"), example=hidden)
        if not known.fits(hidden):
            raise KasminaError(
                f"slot '{self.name}' holds {known}, and was given {tuple(hidden.shape)}; "
                "a slot needs a place where rank and channels stay the same"
            )
        # Compiled code must not depend on whether there is a seed that takes no part yet.
        if not torch.compiler.is_compiling():
            if self._like.is_meta or (self.seed is None and self.follows_inputs):
                self._follow(hidden)
            if not self.training:
                self.check_written()
        if not self.active:
            return hidden
        seed = self.seed
        assert seed is not None
        if self.training and not torch.compiler.is_compiling():
            check_reduced(seed, self.name)
        if seed.training and known.topology is Topology.CNN and known.is_single_value(hidden):
            # Batch norm cannot normalise one value a channel; the host may have no such layer.
            with seed.evaluating():
                return self._blend(hidden, alpha)
        return self._blend(hidden, alpha)

    def _blend(self, hidden: Tensor, alpha: Tensor | None) -> Tensor:
        seed, known = self.seed, self.activations
        assert seed is not None
        assert known is not None
        if alpha is None:
            alpha = self.override
        # A copy, because a tick before the backward pass changes the slot's own.
        strength = self._strength.clone()
        if alpha is not None:
            column = known.column(alpha)
            return blend_overridden(hidden, seed, strength, column, isolated=self._isolated)
        if self._isolated:
            return isolate(hidden, seed)
        return seed.blended(hidden, strength)

    def apply_command(self, command: SlotCommand) -> CommandResult:
        """Carries out a lifecycle command, or says why not; a refusal changes nothing.

        Raises:
            KasminaError: If it is no command at all.
        """
        if not isinstance(command, SlotCommand):
            raise KasminaError(
                f"{shown(command)} is no command; give Germinate(...), Advance(), "
                "SetAlphaTarget(...), Prune(...) or Fossilize()"
            )
        reason = self._unfit(command)
        if reason is not None:
            return CommandResult(accepted=False, reason=reason)
        transition = self._step(command)
        return CommandResult(accepted=transition.accepted, reason=transition.rejection)

    def build_in(self, blueprint: str, style: BlendStyle) -> None:
        """Puts a new seed into an empty slot as if it had always been part of the network.

        It is FOSSILIZED at full strength without having lived; its weights are newly
        initialised. This is for networks that have from the start what others grew.

        Raises:
            KasminaError: If the slot is not empty, or the blueprint does not fit.
        """
        reason = self._unfit(Germinate(blueprint=blueprint, style=style))
        if self.stage is not SeedStage.DORMANT:
            reason = f"slot '{self.name}' is {self.stage.name}; build into a DORMANT one"
        if reason is not None:
            raise KasminaError(reason)
        self._record.state = SeedState(
            stage=SeedStage.FOSSILIZED,
            blueprint=blueprint,
            style=style,
            tempo=0,
            blend_target=1.0,
            ramp=AlphaRamp(start=1.0, target=1.0, steps=0),
        )
        self._create()
        self._record.alpha_at_tick = 1.0
        self._settle()

    @contextmanager
    def held_out(self) -> Iterator[None]:
        """Runs the model as if this slot were empty, to see what its seed is worth."""
        active, self.active = self.active, False
        try:
            yield
        finally:
            self.active = active

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

        A loop that clears gradients after its last step leaves none, and then they are not
        measured; train inside a ``GradientObserver`` there.

        Args:
            host: The rest of the model measured the same way, for the ratio that the
                strict gates ask for (``measure_gradients(own_parameters)``).
        """
        if self.seed is not None:
            self.take_gradients(measure_gradients(self.seed.parameters()), host)

    def take_gradients(
        self, measured: GradientMeasurement | None, host: GradientMeasurement | None
    ) -> None:
        """Takes in an epoch's gradients that were measured before (``GradientObserver``).

        Args:
            measured: The seed's, ``None`` if it had none.
            host: The rest of the model's.
        """
        self._record.evidence.record_gradients(measured, host)

    def record_validation(
        self, accuracy: float, measurement: SeedMeasurement | None = None
    ) -> None:
        """Takes in what validation said.

        Args:
            accuracy: Of the whole model, in percent.
            measurement: What it said of this slot's seed, if that was measured.

        Raises:
            KasminaError: If a measurement is given for a slot without a seed, or the accuracy
                is no number.
        """
        if not isinstance(accuracy, Real | Tensor):
            raise KasminaError(f"the accuracy is {shown(accuracy)}; give a number in percent")
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

    def _unfit(self, command: SlotCommand) -> str | None:
        """Returns why a command cannot be carried out here, whatever the lifecycle says."""
        for name, kind in (("style", BlendStyle), ("curve", AlphaCurve)):
            value = getattr(command, name, None)
            if value is not None and not isinstance(value, kind):
                allowed = ", ".join(each.name for each in kind)
                return f"{shown(value)} is no {kind.__name__}; allowed: {allowed}"
        if not isinstance(command, Germinate):
            return None
        if self.activations is None:
            where = "it" if self.module_path is None else f"submodule '{self.module_path}'"
            return (
                f"slot '{self.name}' has not seen its activations yet: no pass has reached "
                f"{where}; run one forward pass, or say what they are when you make it"
            )
        reason = why_unfit(command.blueprint, self.activations.topology)
        if reason is not None or command.blueprint in BUILT_IN_BLUEPRINTS:
            return reason
        spec = BLUEPRINTS[self.activations.topology][command.blueprint]
        return find_fault(spec, self.activations.channels_second())

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
                self._replace_seed(None)
                record.forget_seed()
            case Effect.FOSSILIZE_MODULE:
                kind, target = SeedEventKind.FOSSILIZED, SeedStage.FOSSILIZED
                record.note(kind, record.state, source=source, target=target)
            case Effect.FREEZE_PARAMETERS:
                assert self.seed is not None
                self.seed.freeze()
                self.revision += 1
            case Effect.SET_BLEND:
                self._set_blend()

    def _create(self) -> None:
        record = self._record
        record.forget_seed()
        record.germinations += 1
        self._replace_seed(self._blank_seed(record))
        assert self.seed is not None
        record.parameters = self.seed.size

    def _set_blend(self) -> None:
        """Follows a change of style; the curve is in the lifecycle's state."""
        seed, style = self.seed, self.state.style
        assert seed is not None
        assert style is not None
        size = seed.size
        # A gate is initialized to zero, but torch's constructors draw random numbers anyway.
        with seeded(self.rng_seed, self.name, "gate"):
            seed.set_algorithm(style.algorithm)
        self._record.parameters = seed.size
        self.revision += size != seed.size
