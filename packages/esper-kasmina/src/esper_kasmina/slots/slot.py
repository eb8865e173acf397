"""A slot: a module in which a seed can grow."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from esper_kasmina._torch import version_of
from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.checks import check_snapshot, shown
from esper_kasmina.errors import KasminaError
from esper_kasmina.layers.seeding import seeded
from esper_kasmina.slots.commands import why_impossible
from esper_kasmina.slots.gradients import GradientMeasurement, measure_gradients
from esper_kasmina.slots.module import SlotModule
from esper_kasmina.slots.record import SlotRecord
from esper_kasmina.slots.seed import Seed, build_seed
from esper_kasmina.slots.stored import StoredSlot, pack, unpack
from esper_leyline import (
    ACTIVE_STAGES,
    LIVE_STAGES,
    OCCUPIED_STAGES,
    BlendStyle,
    CommandResult,
    Germinate,
    LeylineError,
    LifecycleRules,
    Op,
    Prune,
    SeedEvent,
    SeedMeasurement,
    SeedReport,
    SeedStage,
    SeedState,
    Tick,
)
from esper_leyline.commands import LifecycleInput, SlotCommand
from esper_leyline.lifecycle.alpha import AlphaRamp
from esper_leyline.lifecycle.machine import Effect, Transition
from esper_leyline.slots import parse_slot


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSnapshot:
    """A copy of a slot's state and seed, made by ``SeedSlot.snapshot``."""

    record: SlotRecord
    seed: Seed | None


class SeedSlot(SlotModule):
    """A module that returns its inputs until a seed grows in it.

    Put it anywhere in a model where activations are feature maps, tokens or vectors. The lifecycle
    is ``esper_leyline.advance``; the slot performs its effects on the seed's module. In each epoch
    a training loop calls ``apply_command``, ``sync_optimizer``, trains, and calls
    ``record_gradients``, ``record_validation``, ``tick`` and ``sync_optimizer``.

    Its ``state_dict`` holds the seed's tensors and, as one tensor of bytes, the lifecycle. A new
    slot that loads it holds the same seed.

    Attributes:
        rules: What the lifecycle accepts.
        rng_seed: Random seed from which the weights of seeds are drawn.
        module_path: The submodule after which the slot runs in a grafted model; it is part of the
            state dict.
    """

    def __init__(
        self,
        name: str,
        activations: ActivationSpec | None = None,
        *,
        rules: LifecycleRules | None = None,
        rng_seed: int = 0,
    ) -> None:
        """Builds an empty slot.

        Args:
            name: The slot's id, ``r<row>c<col>``, unique in its model.
            activations: The kind of activations. ``None`` infers it from the first forward
                pass, which cannot distinguish signals [B, C, L] from tokens [B, T, D].
            rules: What the lifecycle accepts; ``None`` takes the permissive defaults.
            rng_seed: Random seed; with the name and the number of germinations it determines
                the weights of every seed.

        Raises:
            KasminaError: If the name is not a slot id, or ``activations`` or ``rules`` have the
                wrong type.
        """
        try:
            parse_slot(name)
        except LeylineError as error:
            raise KasminaError(str(error)) from None
        if not isinstance(activations, ActivationSpec | None):
            raise KasminaError(
                f"activations of slot '{name}' are {shown(activations)}; give an ActivationSpec, "
                "such as ActivationSpec.maps(8), or None"
            )
        if not isinstance(rules, LifecycleRules | None):
            raise KasminaError(f"the rules are {shown(rules)}; give LifecycleRules(...) or None")
        super().__init__(name, activations)
        self.rules = LifecycleRules() if rules is None else rules
        self.rng_seed = rng_seed
        self.module_path: str | None = None
        self._record = SlotRecord(slot=name)
        self._packed: Tensor | None = None

    @property
    def state(self) -> SeedState:
        """The state of the lifecycle."""
        return self._record.state

    @property
    def stage(self) -> SeedStage:
        """The seed's stage."""
        return self._record.state.stage

    @property
    def occupied(self) -> bool:
        """Whether the slot holds a seed."""
        return self._record.state.stage in OCCUPIED_STAGES

    @property
    def live(self) -> bool:
        """Whether the slot holds a seed that can still be pruned."""
        return self._record.state.stage in LIVE_STAGES

    @property
    def germinations(self) -> int:
        """Number of seeds that have germinated here."""
        return self._record.germinations

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
        reason = why_impossible(command, self.name, self.activations, self.module_path)
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
        germinate = Germinate(blueprint=blueprint, style=style)
        reason = why_impossible(germinate, self.name, self.activations, self.module_path)
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
        self._update_strength()

    def tick(self) -> None:
        """Ends an epoch: advances ramps of alpha, embargoes and automatic stage changes."""
        self._step(Tick())
        self._record.end_epoch()

    def prune_now(self) -> None:
        """Removes a live seed, whatever its age; does nothing without one."""
        if not self.live:
            return
        # The lifecycle refuses to prune a seed whose alpha is already ramping down.
        self._record.state = replace(self.state, pruning=False)
        self._step(Prune(), self.rules.model_copy(update={"min_prune_age": 0}))

    def record_gradients(self, host: GradientMeasurement | None = None) -> None:
        """Measures the gradients that the seed has now; call it once in an epoch.

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
        """Returns the events since the last call in order, and clears them."""
        return self._record.take_events()

    def report(self, closed: frozenset[Op] = frozenset()) -> SeedReport:
        """Returns the slot's present state.

        Args:
            closed: Ops that the host refuses now, in addition to those that the lifecycle does.
        """
        return self._record.report(self.rules, closed)

    def snapshot(self) -> SlotSnapshot:
        """Returns a copy of everything that ``restore`` needs."""
        return SlotSnapshot(record=self._record.copy(), seed=copy.deepcopy(self.seed))

    def restore(self, snapshot: SlotSnapshot) -> None:
        """Restores a snapshot, which can be used again.

        If the seed of the snapshot is still in the slot, its parameters stay the same objects,
        so an optimizer's groups stay valid.

        Raises:
            KasminaError: If it is not a snapshot of a slot.
        """
        check_snapshot(snapshot, SlotSnapshot)
        saved, seed = snapshot.seed, self.seed
        same = snapshot.record.germinations == self._record.germinations
        if saved is not None and seed is not None and same and saved.matches(seed):
            seed.load_state_dict(saved.state_dict())
            seed.zero_grad(set_to_none=True)
        else:
            self._replace_seed(copy.deepcopy(saved))
        if self.seed is not None:
            self.seed.to(self._strength.device).train(self.training)
        self._record = snapshot.record.copy()
        self._update_strength()

    def get_extra_state(self) -> Tensor:
        """Returns the lifecycle as JSON in a tensor of bytes.

        If other code writes into that tensor, the slot reads it again, as it does with weights of
        a ``state_dict`` that are changed in place.
        """
        stored = StoredSlot(
            activations=self.activations, record=self._record, module_path=self.module_path
        )
        packed = pack(stored)
        self._packed = None if packed.is_inference() else packed
        return packed

    def set_extra_state(self, state: Tensor) -> None:
        """Loads what ``get_extra_state`` returned, and builds the seed; torch loads its tensors.

        Raises:
            KasminaError: If the state is unreadable, or was saved from another slot.
        """
        self._packed = None
        stored = unpack(state, slot=self.name)
        here, there = self.module_path, stored.module_path
        if None not in (here, there) and here != there:
            raise KasminaError(
                f"slot '{self.name}' is after submodule '{here}', and the state is of one after "
                f"'{there}'; give the model the same slots after the same submodules"
            )
        if stored.activations is not None:
            self.bind(stored.activations)
        seed = self._build_seed(stored.record)
        if seed is None or self.seed is None or not seed.matches(self.seed):
            self._replace_seed(seed)
        self._record = stored.record
        self._update_strength()

    def check_tensors(self) -> None:
        """Reads or refuses values that other code has written into the slot's tensors.

        A library that averages a ``state_dict`` in place also writes the lifecycle, which is
        then loaded from it. ``AveragedModel`` copies buffers, but not the lifecycle.

        Raises:
            KasminaError: If an average was given the buffers of a model with another alpha.
        """
        if self._packed is not None and version_of(self._packed):
            self.set_extra_state(self._packed)
        super().check_tensors()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Loads a pickle or a copy, whose tensors count their writes from 0."""
        super().__setstate__(state)
        self._packed = None

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
        key = f"{prefix}_extra_state"
        lifecycle = state_dict.get(key)
        assigned = local_metadata.get("assign_to_params_buffers", False)
        if assigned and self._strength.is_meta and isinstance(lifecycle, Tensor):
            # The seed that is built next gets tensors on the device of the state dict.
            self._match_tensor(torch.empty(0, dtype=self._strength.dtype, device=lifecycle.device))
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        # An empty slot may load the weights of a model without slots.
        if key in missing_keys and self.seed is None:
            missing_keys.remove(key)

    def _step(self, event: LifecycleInput, rules: LifecycleRules | None = None) -> Transition:
        transition = self._record.advance(event, rules or self.rules, self._perform)
        self._update_strength()
        return transition

    def _perform(self, effect: Effect) -> None:
        """Performs an effect of the lifecycle on the seed's module."""
        match effect:
            case Effect.CREATE_MODULE:
                self._create_seed()
            case Effect.REMOVE_MODULE:
                self._replace_seed(None)
            case Effect.FREEZE_PARAMETERS:
                assert self.seed is not None
                self.seed.freeze()
                self.revision += 1
            case Effect.SET_BLEND:
                self._set_blend()

    def _create_seed(self) -> None:
        self._record.start_seed()
        self._replace_seed(self._build_seed(self._record))
        assert self.seed is not None
        self._record.parameters = self.seed.size

    def _set_blend(self) -> None:
        """Gives the seed the blend algorithm of its style."""
        seed, style = self.seed, self.state.style
        assert seed is not None
        assert style is not None
        size = seed.size
        # A gate is initialised to zero, but torch's constructors draw random numbers first.
        with seeded(self.rng_seed, self.name, "gate"):
            seed.set_algorithm(style.algorithm)
        self._record.parameters = seed.size
        self.revision += size != seed.size

    def _build_seed(self, record: SlotRecord) -> Seed | None:
        """Builds a new seed of the kind that a record describes, ``None`` if it has none."""
        if record.state.blueprint is None:
            return None
        assert self.activations is not None
        with torch.inference_mode(mode=False):
            parts = (self.rng_seed, self.name, record.germinations)
            seed = build_seed(record.state, self.activations, rng_parts=parts)
            if self.channels_last:
                seed.to(memory_format=torch.channels_last)
            return seed.to(self._strength).train(self.training)

    def _update_strength(self) -> None:
        """Sets what the forward pass needs from the lifecycle's state."""
        self._set_strength(alpha=self.state.alpha, active=self.stage in ACTIVE_STAGES)
