"""A slot: a place in a network where a seed can grow."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from esper_kasmina.activations import Activations
from esper_kasmina.blending import blend, blend_overridden, isolate
from esper_kasmina.blueprints import BLUEPRINTS
from esper_kasmina.errors import KasminaError
from esper_kasmina.gradients import GradientMeasurement, measure_gradients
from esper_kasmina.inference import infer
from esper_kasmina.randomness import seeded
from esper_kasmina.record import SlotRecord, SlotState, pack, unpack
from esper_kasmina.seed import Seed
from esper_leyline import (
    ACTIVE_STAGES,
    GATE_OF_STAGE,
    LIVE_STAGES,
    OCCUPIED_STAGES,
    CommandResult,
    Effect,
    Germinate,
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

    Put it anywhere in a model where activations are feature maps, tokens or vectors. The
    lifecycle is ``esper_leyline.advance``; the slot performs its effects on real modules.
    A training loop calls, an epoch at a time: ``apply_command``, ``sync_optimizer``,
    training, ``record_gradients``, ``record_validation``, ``tick``, ``sync_optimizer``.

    Its ``state_dict`` holds the seed's tensors and, as one tensor of bytes, the lifecycle,
    so that a fresh slot that loads it holds the same seed.

    Attributes:
        name: The slot's id, such as ``r0c0``.
        activations: What flows through it; ``None`` until that is known.
        active: Whether a seed takes part in the forward pass.
        alpha: How strongly it is blended in.
        channels_last: Whether seeds born here keep their kernels channels last, as the
            activations come; mixed orders in memory cost time, not correctness.
        override: Strengths [B] for the passes of a model that cannot hand them in.
        revision: Counts the changes of what is trained here: a birth, a removal, a
            freezing. Whatever keeps lists of parameters (DDP) is built anew when it moves.
    """

    _place: Tensor
    _strength: Tensor

    def __init__(
        self,
        name: str,
        activations: Activations | None = None,
        *,
        rules: LifecycleRules | None = None,
        seed: int = 0,
    ) -> None:
        """Builds an empty slot.

        Args:
            name: The slot's id, ``r<row>c<col>``, unique in its model.
            activations: What flows through it. ``None`` reads it off the first forward
                pass; that cannot tell signals [B, C, L] from tokens [B, T, D].
            rules: What the lifecycle accepts; ``None`` takes the permissive defaults.
            seed: Together with the name and the count of germinations it decides the
                weights of every seed born here.

        Raises:
            LeylineError: If the name is no slot id.
        """
        super().__init__()
        parse_slot(name)
        self.name = name
        self.activations = activations
        self.rules = LifecycleRules() if rules is None else rules
        self.random_seed = seed
        self.seed: Seed | None = None
        self.channels_last = False
        self.override: Tensor | None = None
        self.revision = 0
        # Follows the model to its device and dtype, so that newborn seeds do too.
        self.register_buffer("_place", torch.empty(0), persistent=False)
        # Alpha as a tensor, so that compiled code need not change with it.
        self.register_buffer("_strength", torch.zeros(()), persistent=False)
        self._record = SlotRecord(slot=name)
        self._settle()

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
            known = self.bind(infer(hidden, place=f"slot '{self.name}'"), example=hidden)
        if not known.fits(hidden):
            raise KasminaError(
                f"slot '{self.name}' holds {known}, and was given {tuple(hidden.shape)}; "
                "a slot needs a place where rank and channels stay the same"
            )
        if not self.active:
            return hidden
        seed = self.seed
        assert seed is not None
        if alpha is None:
            alpha = self.override
        if alpha is not None:
            column = known.column(alpha)
            return blend_overridden(hidden, seed, self._strength, column, isolated=self._isolated)
        if self._isolated:
            return isolate(hidden, seed)
        return blend(hidden, seed, self._strength)

    def bind(self, activations: Activations, example: Tensor | None = None) -> Activations:
        """Tells an empty slot what flows through it.

        Args:
            activations: The kind.
            example: One of them, whose order in memory seeds will follow.

        Raises:
            KasminaError: If it knows better.
        """
        if self.activations not in (None, activations):
            raise KasminaError(
                f"slot '{self.name}' holds {self.activations} and cannot become {activations}"
            )
        self.activations = activations
        if example is not None and example.dim() == 4:
            last = example.is_contiguous(memory_format=torch.channels_last)
            self.channels_last = last and not example.is_contiguous()
        return activations

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
        reason = self._unfit(command)
        if reason is not None:
            return CommandResult(accepted=False, reason=reason)
        transition = self._step(command)
        return CommandResult(accepted=transition.accepted, reason=transition.rejection)

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

    def get_extra_state(self) -> Tensor:
        """Returns what the tensors do not say, as JSON in a tensor of bytes."""
        return pack(SlotState(activations=self.activations, record=self._record))

    def set_extra_state(self, state: Tensor) -> None:
        """Takes back what ``get_extra_state`` returned; torch loads the tensors next."""
        stored = unpack(state, slot=self.name)
        if stored.activations is not None:
            self.bind(stored.activations)
        wanted = self._blank_seed(stored.record)
        if wanted is None or self.seed is None or not wanted.resembles(self.seed):
            self._replace_seed(wanted)
        self._record = stored.record
        self._settle()

    def _load_from_state_dict(  # noqa: PLR0917 - torch's own signature
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        # The weights of a model without seeds say nothing about its slots, which stay.
        unsaid = f"{prefix}_extra_state"
        if unsaid in missing_keys and self.seed is None:
            missing_keys.remove(unsaid)

    def _blank_seed(self, record: SlotRecord) -> Seed | None:
        """Builds a seed of the kind a record describes; its values are of no account."""
        state = record.state
        if state.blueprint is None:
            return None
        assert state.style is not None
        assert self.activations is not None
        with seeded(self.random_seed, self.name, record.germinations):
            seed = Seed(state.blueprint, self.activations, state.style.algorithm)
        if state.pruning:
            seed.freeze()
        if self.channels_last:
            seed.to(memory_format=torch.channels_last)
        return seed.to(self._place).train(self.training)

    def _restore_seed(self, snapshot: SlotSnapshot) -> None:
        kept = snapshot.seed
        if (
            kept is not None
            and self.seed is not None
            and snapshot.record.germinations == self._record.germinations
            and kept.resembles(self.seed)
        ):
            self.seed.load_state_dict(kept.state_dict())
            self.seed.zero_grad(set_to_none=True)
        else:
            self._replace_seed(copy.deepcopy(kept))
        if self.seed is not None:
            self.seed.to(self._place.device).train(self.training)

    def _unfit(self, command: SlotCommand) -> str | None:
        """Returns why a command cannot be carried out here, whatever the lifecycle says."""
        if not isinstance(command, Germinate):
            return None
        if self.activations is None:
            return (
                f"slot '{self.name}' has not seen its activations yet; run one forward pass, "
                "or say what they are when you make it"
            )
        fitting = BLUEPRINTS[self.activations.topology]
        if command.blueprint in fitting:
            return None
        allowed = ", ".join(blueprint.name for blueprint in fitting)
        topology = self.activations.topology.value
        return (
            f"blueprint {command.blueprint.name} does not fit a slot of a {topology}; "
            f"allowed: {allowed}"
        )

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

    def _replace_seed(self, seed: Seed | None) -> None:
        if seed is not self.seed:
            self.revision += 1
        self.seed = seed

    def _set_blend(self) -> None:
        """Follows a change of style; the curve is in the lifecycle's state."""
        seed, style = self.seed, self.state.style
        assert seed is not None
        assert style is not None
        size = seed.size
        # A gate is born at zero, but torch's constructors draw all the same.
        with seeded(self.random_seed, self.name, "gate"):
            seed.set_algorithm(style.algorithm)
        self._record.parameters = seed.size
        self.revision += size != seed.size

    def _settle(self) -> None:
        # Plain attributes, because the forward pass reads them for every batch.
        self.active = self.stage in ACTIVE_STAGES
        self.alpha = self.state.alpha
        self._isolated = self.alpha == 0.0
        with torch.no_grad():
            self._strength.fill_(self.alpha)
