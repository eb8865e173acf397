"""The hooks of a grafted model: one runs a slot, the other checks all slots before each pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from esper_kasmina._torch import COMPILED, children, forward_hooks
from esper_kasmina.activations.inference import LayerSizes, check_tensor, infer
from esper_kasmina.activations.outputs import OutputKey, replace_output, select_output
from esper_kasmina.errors import KasminaError
from esper_kasmina.slots.slot import SeedSlot


class SlotHook:
    """Forward hook that runs a slot on what a submodule returns.

    It is an object and not a function, so that ``copy.deepcopy`` copies the slot with it.

    Attributes:
        slot: The slot.
        path: Name of the submodule in the model.
        output: The element that the slot takes; ``None`` if the submodule returns one tensor.
        model_sizes: The sizes of the model's layers.
        container: The type of what the submodule returned; ``None`` before the first pass.
        reached: Whether a forward pass of the model that counts has run the submodule.
        counting: Whether the present forward pass counts.
        passes: How often it has run the submodule.
    """

    def __init__(
        self, slot: SeedSlot, path: str, *, output: OutputKey | None, model_sizes: LayerSizes
    ) -> None:
        self.slot = slot
        self.path = path
        self.output = output
        self.model_sizes = model_sizes
        self.container: type | None = None
        self.reached = False
        self.counting = False
        self.passes = 0
        self._parts = tuple(path.split("."))

    def __call__(self, module: nn.Module, _inputs: Any, output: Any) -> Any:
        """Returns the submodule's output, with the slot's output in place of what the slot took."""
        where = f"submodule '{self.path}'"
        key = self.output
        element = output if key is None else select_output(output, key, where=where)
        if self.container is None:
            self.container = type(output)
        tensor = check_tensor(element, where=where)
        if self.counting:
            self._count()
        if self.slot.activations is None:
            inferred = infer(tensor, where=where, module=module, model_sizes=self.model_sizes)
            self.slot.bind(inferred, example=tensor)
        grown = self.slot(tensor)
        return grown if key is None else replace_output(output, key, grown)

    def check_registered(self, model: nn.Module) -> None:
        """Checks that the submodule still has this hook.

        Raises:
            KasminaError: If it was replaced or removed, so that the slot no longer runs.
        """
        module: nn.Module | None = model
        for part in self._parts:
            module = None if module is None else children(module).get(part)
        if module is not None and any(h is self for h in forward_hooks(module).values()):
            return
        now = "gone" if module is None else f"a {type(module).__name__} without the slot's hook"
        raise KasminaError(
            f"slot '{self.slot.name}' ({self.slot.stage.name}) is lost: submodule '{self.path}' "
            f"is now {now}; put the submodule back, or harvest before layers are replaced"
        )

    def _count(self) -> None:
        self.passes += 1
        self.reached = True
        if self.passes > 1:
            raise KasminaError(
                f"submodule '{self.path}' runs several times in one forward pass; a seed there "
                "would have to fit all of them, so choose one that runs once"
            )


class PassHook:
    """Forward pre-hook of a grafted model: checks its slots, and stores the inputs.

    Inputs are stored if a slot holds a seed, without their graph and until the next pass. They
    are not part of a copy or a pickle of the model.

    Attributes:
        inputs: Positional and keyword arguments of the last pass, ``None`` before it.
    """

    def __init__(self, hooks: Sequence[SlotHook]) -> None:
        self.hooks = tuple(hooks)
        self.inputs: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def __call__(self, model: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Checks that every slot still runs, and stores the inputs."""
        if torch.compiler.is_compiling():
            return
        for hook in self.hooks:
            hook.check_registered(model)
        if any(hook.slot.occupied for hook in self.hooks):
            self.inputs = (_detached(inputs), _detached(options))

    def __getstate__(self) -> Mapping[str, Any]:
        """Leaves the inputs out of copies and pickles."""
        return {**self.__dict__, "inputs": None}


def without_compiled(path: str) -> str:
    """Returns a submodule's name without the parts that ``torch.compile`` adds."""
    return path.replace(f"{COMPILED}.", "")


def _detached(value: Any) -> Any:
    """Returns inputs detached from their graph, with the same memory."""
    match value:
        case Tensor():
            return value.detach()
        case tuple() | list() if type(value) in (tuple, list):
            return type(value)(_detached(each) for each in value)
        case dict() if type(value) is dict:
            return {key: _detached(each) for key, each in value.items()}
    return value
