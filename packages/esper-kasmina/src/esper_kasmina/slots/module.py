"""The module in a network that holds one seed and runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from esper_kasmina._torch import version_of
from esper_kasmina.activations.inference import infer
from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.errors import KasminaError
from esper_kasmina.slots.blending import blend_overridden, isolate
from esper_kasmina.slots.parallel import check_in_running_ddp
from esper_kasmina.slots.seed import Seed
from esper_leyline import Topology

Self = TypeVar("Self", bound="SlotModule")


class SlotModule(nn.Module):
    """Base of ``SeedSlot``: holds at most one seed, and blends it with the activations.

    It does not know the seed's stage. ``SeedSlot`` replaces the seed and sets its strength.

    Attributes:
        name: The slot's id, such as ``r0c0``.
        activations: The kind of activations; ``None`` until it is known.
        seed: The seed, ``None`` without one.
        active: Whether the seed takes part in the forward pass.
        alpha: The blend strength of the seed. At 0 an active seed is trained in isolation.
        override: Strengths [B] that replace the seed's own in the forward passes of a grafted
            model; ``None`` for none.
        channels_last: Whether the weights of seeds have the memory format
            ``torch.channels_last``, as the activations do. With another format they are slower.
        follows_inputs: Whether an empty slot takes the dtype and device of its inputs for future
            seeds. If not, it keeps those of the module before it.
        revision: Incremented when the set of trained parameters changes: a seed germinates, is
            removed or is frozen. Wrappers that list parameters (DDP) must then be made again.
    """

    active: bool
    alpha: float
    override: Tensor | None = None
    # Alpha as a tensor [], so that torch.compile need not compile again when alpha changes. It
    # also has the dtype and device of future seeds.
    _strength: Tensor

    def __init__(self, name: str, activations: ActivationSpec | None) -> None:
        super().__init__()
        self.name = name
        self.activations = activations
        self.seed: Seed | None = None
        self.channels_last = False
        self.follows_inputs = True
        self.revision = 0
        with torch.inference_mode(mode=False):  # an inference tensor is read-only
            self.register_buffer("_strength", torch.zeros(()), persistent=False)
        self._set_strength(alpha=0.0, active=False)
        self.register_load_state_dict_post_hook(_match_loaded_seed)  # type: ignore[no-untyped-call]

    def forward(self, hidden: Tensor, alpha: Tensor | None = None) -> Tensor:
        """Runs the seed if it is active.

        Args:
            hidden: Activations.
            alpha: Blend strength of each sample [B]; NaN keeps the seed's own.

        Returns:
            Activations of the same shape.

        Raises:
            KasminaError: If the number of axes or channels differs from that of the first pass.
        """
        known = self.activations
        if known is None:
            known = self.bind(infer(hidden, where=f"slot '{self.name}'"), example=hidden)
        if not known.fits(hidden):
            raise KasminaError(
                f"slot '{self.name}' holds {known}, and was given {tuple(hidden.shape)}; "
                "put it where the number of axes and of channels is always the same"
            )
        # Not in compiled code, which would be compiled again when a seed germinates.
        if not torch.compiler.is_compiling():
            if self._strength.is_meta or (self.seed is None and self.follows_inputs):
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
            with seed.in_eval_mode():
                return self._blend(hidden, known, seed, alpha)
        return self._blend(hidden, known, seed, alpha)

    @contextmanager
    def held_out(self) -> Iterator[None]:
        """Runs the model as if this slot were empty, to measure what its seed contributes."""
        active, self.active = self.active, False
        try:
            yield
        finally:
            self.active = active

    def bind(self, activations: ActivationSpec, example: Tensor | None = None) -> ActivationSpec:
        """Sets the kind of activations.

        Args:
            activations: The kind.
            example: An activation, whose memory format seeds will have.

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
                self._match_tensor(parameter)
                return True
        return False

    def reset_parameters(self) -> None:
        """Sets the slot's own tensors; the seed's modules have their own method.

        Libraries call it for each module after ``to_empty``.
        """
        self._fill_strength()

    def check_tensors(self) -> None:
        """Checks that other code has not written another strength into the slot.

        ``AveragedModel`` copies buffers, but not the lifecycle.

        Raises:
            KasminaError: If an average was given the buffers of a model with another alpha.
        """
        strength, version = self._filled
        # A tensor that was replaced as a whole was replaced on purpose (functional_call).
        if strength is not self._strength or version is None:
            return
        if version_of(strength) == version:
            return
        if not torch.equal(strength, torch.full_like(strength, self.alpha)):
            raise KasminaError(
                f"slot '{self.name}' has alpha {self.alpha:g}, and was given the strength "
                f"{float(strength):g} of another model; call sync_average(averaged, model) before "
                "you update an average of weights, and once more before you use it"
            )
        self._fill_strength()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Loads a pickle or a copy, whose tensors count their writes from 0."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._fill_strength()

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves tensors as torch does, and fills the strength, which ``to_empty`` has not set."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._fill_strength()
        return self

    def _blend(
        self, hidden: Tensor, known: ActivationSpec, seed: Seed, alpha: Tensor | None
    ) -> Tensor:
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

    def _match_tensor(self, tensor: Tensor) -> None:
        """Takes the dtype and device of a tensor for the strength and for future seeds."""
        if (tensor.dtype, tensor.device) == (self._strength.dtype, self._strength.device):
            return
        # A new tensor, because one on ``meta`` has no values to move.
        with torch.inference_mode(mode=False):
            self._strength = torch.empty((), dtype=tensor.dtype, device=tensor.device)
        self._fill_strength()

    def _match_inputs(self, hidden: Tensor) -> None:
        """Takes the dtype and device of activations, except under autocast."""
        if hidden.is_meta or torch.is_autocast_enabled(hidden.device.type):
            return
        self._match_tensor(hidden if self.seed is None else self.seed.scale)

    def _replace_seed(self, seed: Seed | None) -> None:
        if seed is not self.seed:
            self.revision += 1
        self.seed = seed

    def _set_strength(self, *, alpha: float, active: bool) -> None:
        # Plain attributes, because they are read for every batch.
        self.active = active
        self.alpha = alpha
        self._isolated = alpha == 0.0
        self._fill_strength()

    def _fill_strength(self) -> None:
        with torch.no_grad():
            self._strength.fill_(self.alpha)
        self._filled = (self._strength, version_of(self._strength))


def _match_loaded_seed(slot: nn.Module, _incompatible_keys: Any) -> None:
    """Takes the dtype and device of a seed whose tensors ``load_state_dict`` has assigned."""
    assert isinstance(slot, SlotModule)
    if slot.seed is not None:
        slot.seed.to(slot.seed.scale.device)  # tensors that are not in state dicts
        slot._match_tensor(slot.seed.scale)  # noqa: SLF001 - a method that torch calls as a hook
