"""Keeps the seeds of a harvest that run as forward hooks at their places, or says which is lost."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from esper_kasmina._torch import children, forward_hooks, hook_check, move_forward_hook
from esper_kasmina.errors import KasminaError


class LostSeedCheck:
    """Forward pre-hook of a harvest: some module of it still carries a seed's hook.

    Tools that replace a layer (``convert_sync_batchnorm``, a new head) drop the hooks of the
    old one. A tool may move the hook to another module, as fusing does. An adapter around the
    layer (LoRA of ``peft``) adds to the layer's output, so the seed has to run after the adapter:
    the hook moves to it, and back when the adapter is merged into the layer. A pickle must be
    loadable without Esper, so it stores the check as a ``torch.fx`` graph, which raises
    ``AssertionError`` with the same message, and does not move hooks.

    Attributes:
        slot: Id of the slot in which the seed grew.
        path: Name of the submodule behind which the seed runs.
        hook: The seed's forward hook.
        module: The module that the hook was registered on, or was moved to last.
    """

    def __init__(self, slot: str, path: str, hook: fx.GraphModule, module: nn.Module) -> None:
        self.slot = slot
        self.path = path
        self.hook = hook
        self.module = module

    def register(self, model: nn.Module) -> None:
        """Makes it a hook of the model, whose ``grown_checks`` holds the handles by submodule."""
        checks = model.__dict__.setdefault("grown_checks", {})
        checks.setdefault(self.path, []).append(model.register_forward_pre_hook(self))

    def __call__(self, model: nn.Module, _inputs: Any) -> None:
        """Checks that the seed will run, and moves its hook to or from an adapter.

        Raises:
            KasminaError: If no module carries its hook any more.
        """
        if torch.compiler.is_compiling():
            return
        place = self._place(model)
        if place is not None and place is not self.module and _is_adapted(place, self.module):
            move_forward_hook(self.hook, self.module, place)
            self.module = place
        if not any(self._is_carried_by(each) for each in _first(place, model)):
            raise KasminaError(self._message)

    @property
    def _message(self) -> str:
        return (
            f"the seed of slot '{self.slot}' is lost: submodule '{self.path}', after which it ran, "
            "was replaced, or its hooks were removed; replace the submodule before the harvest, "
            "or, if you do not want the seed, call remove() of each handle in "
            f"model.grown_checks['{self.path}']"
        )

    def _place(self, model: nn.Module) -> nn.Module | None:
        """Returns the module that has the slot's name now, ``None`` without one."""
        module: nn.Module | None = model
        for part in self.path.split("."):
            module = None if module is None else children(module).get(part)
        return module

    def _is_carried_by(self, module: nn.Module) -> bool:
        return any(hook is self.hook for hook in forward_hooks(module).values())

    def __deepcopy__(self, memo: dict[int, Any]) -> LostSeedCheck:
        """Returns the check of the copied seed."""
        hook, module = copy.deepcopy((self.hook, self.module), memo)
        return LostSeedCheck(self.slot, self.path, hook, module)

    def __reduce__(self) -> Any:
        """Pickles the check as the ``forward`` of a graph.

        It is ``forward`` and not the graph module, because ``torch.fx`` cannot trace a call of a
        module that is not a submodule of the model.
        """
        return getattr, (hook_check(self.path, self.hook, self._message), "forward")


def _first(place: nn.Module | None, model: nn.Module) -> Iterator[nn.Module]:
    """Yields the module at a seed's place, and then every module of the model."""
    if place is not None:
        yield place
    yield from model.modules()


def _is_adapted(one: nn.Module, other: nn.Module) -> bool:
    """Whether one of two modules is an adapter around the other."""
    return _base_layer(one) is other or _base_layer(other) is one


def _base_layer(module: nn.Module) -> nn.Module | None:
    base = getattr(module, "get_base_layer", None)
    layer = base() if callable(base) else None
    return layer if isinstance(layer, nn.Module) else None
