"""What a slot holds, and how it is kept: snapshots, state dicts, parameters that stay."""

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
from esper_kasmina.layers.seeding import seeded
from esper_kasmina.slots.record import SlotRecord, StoredSlot, pack, unpack
from esper_kasmina.slots.seed import Seed
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
    """A slot as it stood, module and all; made by ``SeedSlot.snapshot``."""

    record: SlotRecord
    seed: Seed | None


class SlotStorage(nn.Module):
    """What a slot holds, and how it is stored; the base of ``SeedSlot``.

    Its ``state_dict`` holds the seed's tensors and, as one tensor of bytes, the lifecycle,
    so that a fresh one that loads it holds the same seed.

    Attributes:
        name: The slot's id, such as ``r0c0``.
        activations: What flows through it; ``None`` until that is known.
        active: Whether a seed takes part in the forward pass.
        alpha: How strongly it is blended in.
        channels_last: Whether seeds keep their kernels channels last, as the
            activations come; mixed orders in memory cost time, not correctness.
        follows_inputs: Whether an empty slot takes the dtype and device of what it receives,
            for the seeds to come; otherwise it keeps those of its module.
        module_path: The submodule after which it runs in a grafted model; part of its state.
        revision: Counts the changes of what is trained here: a birth, a removal, a
            freezing. What keeps lists of parameters (DDP) is built again when it changes.
    """

    _like: Tensor
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
            activations: What flows through it. ``None`` reads it off the first forward
                pass; that cannot tell signals [B, C, L] from tokens [B, T, D].
            rules: What the lifecycle accepts; ``None`` takes the permissive defaults.
            rng_seed: Together with the name and the count of germinations it decides the
                weights of every seed.

        Raises:
            KasminaError: If the name is no slot id, or the activations or the rules are
                something else.
        """
        super().__init__()
        try:
            parse_slot(name)
        except LeylineError as error:
            raise KasminaError(str(error)) from None
        if not isinstance(activations, ActivationSpec | None):
            raise KasminaError(
                f"slot '{name}' was given {shown(activations)}; say what flows there, "
                "such as ActivationSpec.maps(8)"
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
        with torch.inference_mode(mode=False):  # a tensor made in that mode could never change
            # Follows the model to its device and dtype, so that new seeds do too.
            self.register_buffer("_like", torch.empty(0), persistent=False)
            # Alpha as a tensor, so that compiled code need not change with it.
            self.register_buffer("_strength", torch.zeros(()), persistent=False)
        self._record = SlotRecord(slot=name)
        self._packed: Tensor | None = None
        self._settle()
        self.register_load_state_dict_post_hook(_follow_seed)  # type: ignore[no-untyped-call]

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

    @property
    def births(self) -> int:
        """Number of seeds that have germinated here."""
        return self._record.germinations

    def bind(self, activations: ActivationSpec, example: Tensor | None = None) -> ActivationSpec:
        """Sets the kind of activations of an empty slot.

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
            images = example.movedim(activations.channel_axis, 1)
            last = images.is_contiguous(memory_format=torch.channels_last)
            self.channels_last = last and not images.is_contiguous()
        return activations

    def follow_module(self, module: nn.Module) -> bool:
        """Takes dtype and device of a module's first floating-point parameter, if it has one."""
        for parameter in module.parameters():
            if parameter.is_floating_point():
                self._move_to(parameter)
                return True
        return False

    def reset_parameters(self) -> None:
        """Initialises what is not a weight; the seed's own modules do the same for theirs.

        Libraries call it for each module after ``to_empty``.
        """
        self._fill_strength()

    def check_written(self) -> None:
        """Looks for values that were written into this slot's tensors from outside.

        A library that averages a ``state_dict`` in place writes the lifecycle too; it is taken
        over then. ``AveragedModel`` copies buffers, but not the lifecycle.

        Raises:
            KasminaError: If an average has the weights of a model that has moved on.
        """
        if self._packed is not None and version_of(self._packed):
            self.set_extra_state(self._packed)
        strength, version = self._settled
        # Another tensor was put in its place on purpose, by torch.func.functional_call say.
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

    def _move_to(self, tensor: Tensor) -> None:
        """Takes the dtype and device of a tensor."""
        if (tensor.dtype, tensor.device) == (self._like.dtype, self._like.device):
            return
        # Made new, because a tensor on ``meta`` has no values to move.
        with torch.inference_mode(mode=False):
            self._like = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
            self._strength = torch.empty((), dtype=tensor.dtype, device=tensor.device)
        self._fill_strength()

    def _follow(self, hidden: Tensor) -> None:
        """Takes dtype and device of activations; under autocast they say nothing of weights."""
        if hidden.is_meta or torch.is_autocast_enabled(hidden.device.type):
            return
        self._move_to(hidden if self.seed is None else self.seed.scale)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SlotStorage:
        """Moves tensors as torch does; those of ``to_empty`` hold nothing yet."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._fill_strength()
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes the state of a pickle or of a copy, whose tensors count writes from 0."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._packed = None
        self._fill_strength()

    def snapshot(self) -> SlotSnapshot:
        """Returns a copy of everything that ``restore`` needs."""
        return SlotSnapshot(record=self._record.copy(), seed=copy.deepcopy(self.seed))

    def restore(self, snapshot: SlotSnapshot) -> None:
        """Puts the slot back to a snapshot, which can be used again.

        A seed that was there then and still is keeps its parameter objects, so an
        optimiser's groups stay valid.

        Raises:
            KasminaError: If it is no snapshot of a slot.
        """
        check_snapshot(snapshot, SlotSnapshot)
        self._restore_seed(snapshot)
        self._record = snapshot.record.copy()
        self._settle()

    def get_extra_state(self) -> Tensor:
        """Returns what the tensors do not say, as JSON in a tensor of bytes.

        What is written into that tensor counts, as it does for the weights in a ``state_dict``.
        """
        state = StoredSlot(
            activations=self.activations, record=self._record, module_path=self.module_path
        )
        packed = pack(state)
        self._packed = None if packed.is_inference() else packed
        return packed

    def set_extra_state(self, state: Tensor) -> None:
        """Takes back what ``get_extra_state`` returned; torch loads the tensors next."""
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
        unsaid = f"{prefix}_extra_state"
        lifecycle = state_dict.get(unsaid)
        assigned = local_metadata.get("assign_to_params_buffers", False)
        if assigned and self._like.is_meta and isinstance(lifecycle, Tensor):
            # The seed that is built next is given tensors that are where this one is.
            self._move_to(torch.empty(0, dtype=self._like.dtype, device=lifecycle.device))
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        # The weights of a model without seeds say nothing about its slots, which stay.
        if unsaid in missing_keys and self.seed is None:
            missing_keys.remove(unsaid)

    def _blank_seed(self, record: SlotRecord) -> Seed | None:
        """Builds a seed of the kind a record describes; its values are of no account."""
        state = record.state
        if state.blueprint is None:
            return None
        assert state.style is not None
        assert self.activations is not None
        with torch.inference_mode(mode=False):
            with seeded(self.rng_seed, self.name, record.germinations):
                seed = Seed(state.blueprint, self.activations, state.style.algorithm)
            if state.pruning:
                seed.freeze()
            if self.channels_last:
                seed.to(memory_format=torch.channels_last)
            return seed.to(self._like).train(self.training)

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
            self.seed.to(self._like.device).train(self.training)

    def _replace_seed(self, seed: Seed | None) -> None:
        if seed is not self.seed:
            self.revision += 1
        self.seed = seed

    def _settle(self) -> None:
        # Plain attributes, because the forward pass reads them for every batch.
        self.active = self.stage in ACTIVE_STAGES
        self.alpha = self.state.alpha
        self._isolated = self.alpha == 0.0
        self._fill_strength()

    def _fill_strength(self) -> None:
        with torch.no_grad():
            self._strength.fill_(self.alpha)
        self._settled = (self._strength, version_of(self._strength))


def _follow_seed(bed: nn.Module, _incompatible_keys: Any) -> None:
    """Takes the dtype and device of a seed whose tensors were assigned by ``load_state_dict``."""
    assert isinstance(bed, SlotStorage)
    if bed.seed is not None:
        bed.seed.to(bed.seed.scale.device)  # its tables, which no state dict holds
        bed._move_to(bed.seed.scale)  # noqa: SLF001 - a hook is a method that torch calls
