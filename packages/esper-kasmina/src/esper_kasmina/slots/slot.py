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
from esper_kasmina.slots.parallel import check_in_running_ddp
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
    """Returns its inputs unchanged until a command makes a seed grow in it.

    Put it anywhere in a model where activations are feature maps, tokens or vectors. The
    lifecycle is ``esper_leyline.advance``; the slot performs its effects on real modules.
    In each epoch a training loop calls ``apply_command``, ``sync_optimizer``, trains, and calls
    ``record_gradients``, ``record_validation``, ``tick`` and ``sync_optimizer``.

    Attributes:
        override: Strengths [B] that replace the seed's own in the forward passes of a grafted
            model; ``None`` for none.
    """

    override: Tensor | None = None

    def forward(self, hidden: Tensor, alpha: Tensor | None = None) -> Tensor:
        """Runs the slot.

        Args:
            hidden: Activations.
            alpha: Blend strength of each sample [B]; NaN keeps the seed's own.

        Returns:
            Activations of the same shape.

        Raises:
            KasminaError: If rank or channels differ from those of the first pass.
        """
        known = self.activations
        if known is None:
            known = self.bind(infer(hidden, where=f"slot '{self.name}'"), example=hidden)
        if not known.fits(hidden):
            raise KasminaError(
                f"slot '{self.name}' holds {known}, and was given {tuple(hidden.shape)}; "
                "put it where the number of axes and of channels is always the same"
            )
        # Not in compiled code, which would compile again at a germination.
        if not torch.compiler.is_compiling():
            if self._placement.is_meta or (self.seed is None and self.follows_inputs):
                self._match_inputs(hidden)
            if not self.training:
                self.check_tensors()
        if not self.active:
            return hidden
        seed = self.seed
        assert seed is not None
        if self.training and not torch.compiler.is_compiling():
            check_in_running_ddp(seed, self.name)
        if seed.training and known.topology is Topology.CNN and known.is_single_value(hidden):
            # Batch norm cannot train on one value per channel, and the host may have none.
            with seed.evaluating():
                return self._blend(hidden, alpha)
        return self._blend(hidden, alpha)

    def _blend(self, hidden: Tensor, alpha: Tensor | None) -> Tensor:
        seed, known = self.seed, self.activations
        assert seed is not None
        assert known is not None
        if alpha is None:
            alpha = self.override
        # A copy, because a tick before the backward pass would change the saved tensor.
        strength = self._strength.clone()
        if alpha is not None:
            column = known.column(alpha)
            return blend_overridden(hidden, seed, strength, column, isolated=self._isolated)
        if self._isolated:
            return isolate(hidden, seed)
        return seed.blended(hidden, strength)

    def apply_command(self, command: SlotCommand) -> CommandResult:
        """Carries out a lifecycle command, or returns why it is refused and changes nothing.

        Raises:
            KasminaError: If it is not a command.
        """
        if not isinstance(command, SlotCommand):
            raise KasminaError(
                f"{shown(command)} is not a command; give Germinate(...), Advance(), "
                "SetAlphaTarget(...), Prune(...) or Fossilize()"
            )
        reason = self._why_impossible(command)
        if reason is not None:
            return CommandResult(accepted=False, reason=reason)
        transition = self._step(command)
        return CommandResult(accepted=transition.accepted, reason=transition.rejection)

    def build_in(self, blueprint: str, style: BlendStyle) -> None:
        """Puts a newly initialised seed into an empty slot, FOSSILIZED and at full strength.

        This makes the baseline of a grown network: one that has the same layers from the start.

        Raises:
            KasminaError: If the slot is not empty, or the blueprint does not fit.
        """
        reason = self._why_impossible(Germinate(blueprint=blueprint, style=style))
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
        self._create_seed()
        self._record.alpha_at_tick = 1.0
        self._read_state()

    @contextmanager
    def held_out(self) -> Iterator[None]:
        """Runs the model as if this slot were empty, to measure what its seed contributes."""
        active, self.active = self.active, False
        try:
            yield
        finally:
            self.active = active

    def tick(self) -> None:
        """Ends an epoch: advances alpha's ramp, embargoes and automatic stage changes."""
        self._step(Tick())
        self._record.end_epoch()

    def prune_now(self) -> None:
        """Removes a live seed at once, whatever its age; does nothing without one."""
        if not self.live:
            return
        # The lifecycle refuses to prune a seed whose alpha is already ramping down.
        self._record.state = replace(self.state, pruning=False)
        self._step(Prune(), self.rules.model_copy(update={"min_prune_age": 0}))

    def record_gradients(self, host: GradientMeasurement | None = None) -> None:
        """Measures the gradients that the seed has now; call it once an epoch.

        If the loop clears gradients after its last step, there are none to measure; train
        inside a ``GradientObserver`` then.

        Args:
            host: The gradients of the rest of the model, for the gradient ratio that the strict
                gates check (``measure_gradients(own_parameters)``).
        """
        if self.seed is not None:
            self.store_gradients(measure_gradients(self.seed.parameters()), host)

    def store_gradients(
        self, measured: GradientMeasurement | None, host: GradientMeasurement | None
    ) -> None:
        """Stores gradients of an epoch that were measured during it (``GradientObserver``).

        Args:
            measured: The seed's, ``None`` if it had none.
            host: The rest of the model's.
        """
        self._record.history.record_gradients(measured, host)

    def record_validation(
        self, accuracy: float, measurement: SeedMeasurement | None = None
    ) -> None:
        """Stores the results of an epoch's validation, for gates and reports.

        Args:
            accuracy: Accuracy of the whole model, in percent.
            measurement: The contribution of this slot's seed, if it was measured.

        Raises:
            KasminaError: If a measurement is given for a slot without a seed, or the accuracy
                is not a number.
        """
        if not isinstance(accuracy, Real | Tensor):
            raise KasminaError(f"the accuracy is {shown(accuracy)}; give a number in percent")
        if measurement is not None and not self.occupied:
            raise KasminaError(
                f"slot '{self.name}' is {self.stage.name} and holds no seed to be measured; "
                "measure occupied slots only"
            )
        self._record.history.record_validation(accuracy, measurement)

    def take_events(self) -> tuple[SeedEvent, ...]:
        """Returns the events since the last call, in order."""
        return self._record.take_events()

    def report(self, closed: frozenset[Op] = frozenset()) -> SeedReport:
        """Returns the slot's present state.

        Args:
            closed: Ops that the host refuses now, in addition to those that the lifecycle does.
        """
        return self._record.report(self.rules, closed)

    def _why_impossible(self, command: SlotCommand) -> str | None:
        """Returns why a command cannot be carried out in any stage, ``None`` if it can."""
        for name, kind in (("style", BlendStyle), ("curve", AlphaCurve)):
            value = getattr(command, name, None)
            if value is not None and not isinstance(value, kind):
                allowed = ", ".join(each.name for each in kind)
                return f"{name} is {shown(value)}; give a {kind.__name__}: {allowed}"
        if not isinstance(command, Germinate):
            return None
        if self.activations is None:
            where = "it" if self.module_path is None else f"submodule '{self.module_path}'"
            return (
                f"slot '{self.name}' does not know its activations yet: no pass has reached "
                f"{where}; run one forward pass, or give an ActivationSpec when you make the slot"
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
            before, event, evidence=record.history.evidence, rules=rules or self.rules
        )
        record.state = transition.state
        if isinstance(event, Tick) and before.blueprint is not None:
            # A seed that is removed at the end of an epoch was trained in that epoch.
            before = replace(before, age=before.age + 1)
        self._perform(before, transition)
        return transition

    def _perform(self, before: SeedState, transition: Transition) -> None:
        """Performs a transition's effects and records its events."""
        record, source = self._record, before.stage
        for gate in transition.gates:
            target = GATE_OF_STAGE[source][1]
            kind = SeedEventKind.GATE_EVALUATED
            record.add_event(kind, before, source=source, target=target, gate=gate)
        for effect in transition.effects:
            self._perform_effect(effect, before)
        for stage in transition.stages:
            kind = SeedEventKind.STAGE_CHANGED
            record.add_event(kind, record.state, source=source, target=stage)
            record.history.enter_stage()
            source = stage
        self._read_state()

    def _perform_effect(self, effect: Effect, before: SeedState) -> None:
        record, source = self._record, before.stage
        match effect:
            case Effect.CREATE_MODULE:
                self._create_seed()
                kind, target = SeedEventKind.GERMINATED, SeedStage.GERMINATED
                record.add_event(kind, record.state, source=source, target=target)
            case Effect.REMOVE_MODULE:
                kind, target = SeedEventKind.PRUNED, SeedStage.PRUNED
                record.add_event(kind, before, source=source, target=target)
                self._replace_seed(None)
                record.clear_seed()
            case Effect.FOSSILIZE_MODULE:
                kind, target = SeedEventKind.FOSSILIZED, SeedStage.FOSSILIZED
                record.add_event(kind, record.state, source=source, target=target)
            case Effect.FREEZE_PARAMETERS:
                assert self.seed is not None
                self.seed.freeze()
                self.revision += 1
            case Effect.SET_BLEND:
                self._set_blend()

    def _create_seed(self) -> None:
        record = self._record
        record.clear_seed()
        record.germinations += 1
        self._replace_seed(self._build_seed(record))
        assert self.seed is not None
        record.parameters = self.seed.size

    def _set_blend(self) -> None:
        """Gives the seed the blend algorithm of a new style."""
        seed, style = self.seed, self.state.style
        assert seed is not None
        assert style is not None
        size = seed.size
        # A gate is initialised to zero, but torch's constructors draw random numbers first.
        with seeded(self.rng_seed, self.name, "gate"):
            seed.set_algorithm(style.algorithm)
        self._record.parameters = seed.size
        self.revision += size != seed.size
