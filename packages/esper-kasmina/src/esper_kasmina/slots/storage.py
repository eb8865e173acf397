"""What a slot holds: its seed, its tensors and its record; state dicts and snapshots of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from esper_kasmina._torch import version_of
from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.checks import check_snapshot, shown
from esper_kasmina.errors import KasminaError
from esper_kasmina.slots.record import SlotRecord
from esper_kasmina.slots.seed import Seed, build_seed
from esper_kasmina.slots.stored import StoredSlot, pack, unpack
from esper_leyline import (
    ACTIVE_STAGES,
    LIVE_STAGES,
    OCCUPIED_STAGES,
    LeylineError,
    LifecycleRules,
    SeedStage,
    SeedState,
)
from esper_leyline.slots import parse_slot


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSnapshot:
    """A copy of a slot's state and seed, made by ``SeedSlot.snapshot``."""

    record: SlotRecord
    seed: Seed | None


class SlotStorage(nn.Module):
    """Base of ``SeedSlot``: what a slot holds, and how it is saved, loaded and moved.

    Its ``state_dict`` holds the seed's tensors and, as one tensor of bytes, the lifecycle. A new
    slot that loads it holds the same seed.

    Attributes:
        name: The slot's id, such as ``r0c0``.
        activations: The kind of activations; ``None`` until it is known.
        active: Whether the seed takes part in the forward pass.
        alpha: The blend strength of the seed.
        channels_last: Whether the kernels of seeds are in ``torch.channels_last`` order, as the
            activations are. Mixed memory formats are slower, not wrong.
        follows_inputs: Whether the slot, while it is empty, takes the dtype and device of its
            inputs for future seeds. If not, it keeps those of its module.
        module_path: The submodule behind which the slot runs in a grafted model; it is part of
            the state.
        revision: Incremented when the set of trained parameters changes: a seed germinates, is
            removed or is frozen. Wrappers that list parameters (DDP) must then be made again.
    """

    # An empty tensor with the dtype and device of future seeds.
    _placement: Tensor
    # Alpha as a tensor [], so that compiled code need not change with it.
    _strength: Tensor

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
        super().__init__()
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
        self.name = name
        self.activations = activations
        self.rules = LifecycleRules() if rules is None else rules
        self.rng_seed = rng_seed
        self.seed: Seed | None = None
        self.channels_last = False
        self.follows_inputs = True
        self.module_path: str | None = None
        self.revision = 0
        with torch.inference_mode(mode=False):  # a tensor made in inference mode is read-only
            self.register_buffer("_placement", torch.empty(0), persistent=False)
            self.register_buffer("_strength", torch.zeros(()), persistent=False)
        self._record = SlotRecord(slot=name)
        self._packed: Tensor | None = None
        self._read_state()
        self.register_load_state_dict_post_hook(_match_loaded_seed)  # type: ignore[no-untyped-call]

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
    def births(self) -> int:
        """Number of seeds that have germinated here."""
        return self._record.germinations

    def bind(self, activations: ActivationSpec, example: Tensor | None = None) -> ActivationSpec:
        """Sets the kind of activations.

        Args:
            activations: The kind.
            example: An activation, whose memory format seeds take over.

        Raises:
            KasminaError: If another kind was set before.
        """
        if self.activations not in (None, activations):
            raise KasminaError(
                f"slot '{self.name}' holds {self.activations} and cannot become {activations}"
            )
        self.activations = activations
        if example is not None and example.dim() == 4:
            images = example.movedim(activations.channel_axis, 1)
            last = images.is_contiguous(memory_format=torch.channels_last)
            self.channels_last = last and not images.is_contiguous()
        return activations

    def match_module(self, module: nn.Module) -> bool:
        """Takes the dtype and device of a module's first floating-point parameter.

        Returns:
            Whether the module has one.
        """
        for parameter in module.parameters():
            if parameter.is_floating_point():
                self._match(parameter)
                return True
        return False

    def reset_parameters(self) -> None:
        """Sets the tensors of the slot itself; the seed's modules have their own method.

        Libraries call it on each module after ``to_empty``.
        """
        self._fill_strength()

    def check_tensors(self) -> None:
        """Reads values that other code has written into the slot's tensors.

        A library that averages a ``state_dict`` in place also writes the lifecycle, which is
        then loaded from it. ``AveragedModel`` copies buffers, but not the lifecycle.

        Raises:
            KasminaError: If an average was given the buffers of a model in another stage.
        """
        if self._packed is not None and version_of(self._packed):
            self.set_extra_state(self._packed)
        strength, version = self._filled
        # A tensor that was replaced as a whole was replaced on purpose (functional_call).
        if strength is not self._strength or version is None:
            return
        if version_of(strength) == version:
            return
        if not torch.equal(strength, torch.full_like(strength, self.alpha)):
            raise KasminaError(
                f"slot '{self.name}' is {self.stage.name} with alpha {self.alpha:g}, and was "
                f"given the strength {float(strength):g} of another model; call "
                "sync_average(averaged, model) before you update an average of weights, and "
                "once more before you use it"
            )
        self._fill_strength()

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
        self._restore_seed(snapshot)
        self._record = snapshot.record.copy()
        self._read_state()

    def get_extra_state(self) -> Tensor:
        """Returns the lifecycle as JSON in a tensor of bytes.

        Values written into that tensor take effect, like those written into the weights of a
        ``state_dict``.
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
        self._read_state()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Loads a pickle or a copy, whose tensors count their writes from 0."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._packed = None
        self._fill_strength()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SlotStorage:
        """Moves tensors as torch does; those of ``to_empty`` have no values yet."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._fill_strength()
        return self

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
        if assigned and self._placement.is_meta and isinstance(lifecycle, Tensor):
            # The seed that is built next gets tensors on the device of the state dict.
            self._match(torch.empty(0, dtype=self._placement.dtype, device=lifecycle.device))
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        # An empty slot may load the weights of a model without slots.
        if key in missing_keys and self.seed is None:
            missing_keys.remove(key)

    def _match(self, tensor: Tensor) -> None:
        """Takes the dtype and device of a tensor for the slot's tensors and future seeds."""
        if (tensor.dtype, tensor.device) == (self._placement.dtype, self._placement.device):
            return
        # New tensors, because those on ``meta`` have no values to move.
        with torch.inference_mode(mode=False):
            self._placement = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
            self._strength = torch.empty((), dtype=tensor.dtype, device=tensor.device)
        self._fill_strength()

    def _match_inputs(self, hidden: Tensor) -> None:
        """Takes the dtype and device of activations, except under autocast."""
        if hidden.is_meta or torch.is_autocast_enabled(hidden.device.type):
            return
        self._match(hidden if self.seed is None else self.seed.scale)

    def _build_seed(self, record: SlotRecord) -> Seed | None:
        """Builds the kind of seed that a record describes, as it is at birth."""
        if record.state.blueprint is None:
            return None
        assert self.activations is not None
        with torch.inference_mode(mode=False):
            parts = (self.rng_seed, self.name, record.germinations)
            seed = build_seed(record.state, self.activations, rng_parts=parts)
            if self.channels_last:
                seed.to(memory_format=torch.channels_last)
            return seed.to(self._placement).train(self.training)

    def _restore_seed(self, snapshot: SlotSnapshot) -> None:
        kept = snapshot.seed
        if (
            kept is not None
            and self.seed is not None
            and snapshot.record.germinations == self._record.germinations
            and kept.matches(self.seed)
        ):
            self.seed.load_state_dict(kept.state_dict())
            self.seed.zero_grad(set_to_none=True)
        else:
            self._replace_seed(copy.deepcopy(kept))
        if self.seed is not None:
            self.seed.to(self._placement.device).train(self.training)

    def _replace_seed(self, seed: Seed | None) -> None:
        if seed is not self.seed:
            self.revision += 1
        self.seed = seed

    def _read_state(self) -> None:
        """Copies what the forward pass needs from the lifecycle's state."""
        # Plain attributes, because they are read for every batch.
        self.active = self.stage in ACTIVE_STAGES
        self.alpha = self.state.alpha
        self._isolated = self.alpha == 0.0
        self._fill_strength()

    def _fill_strength(self) -> None:
        with torch.no_grad():
            self._strength.fill_(self.alpha)
        self._filled = (self._strength, version_of(self._strength))


def _match_loaded_seed(slot: nn.Module, _incompatible_keys: Any) -> None:
    """Takes the dtype and device of a seed whose tensors ``load_state_dict`` has assigned."""
    assert isinstance(slot, SlotStorage)
    if slot.seed is not None:
        slot.seed.to(slot.seed.scale.device)  # tensors that no state dict holds
        slot._match(slot.seed.scale)  # noqa: SLF001 - a hook is a method that torch calls
