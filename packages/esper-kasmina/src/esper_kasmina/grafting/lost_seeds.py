"""Detects that a harvested seed was removed together with the module that it runs after."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import fx, nn

from esper_kasmina._torch import children, forward_hooks, hook_check, move_forward_hook
from esper_kasmina.errors import KasminaError


class LostSeedCheck:
    """Forward pre-hook of a harvest: checks that a seed that runs as a forward hook still runs.

    Tools that replace a module (``convert_sync_batchnorm``, a new head) drop its hooks, and with
    them the seed. Two changes are allowed:

    - A tool may register the hook on another module of the model, as fusing does.
    - An adapter may be put around the layer (LoRA of ``peft``). The adapter adds to the layer's
      output, so the seed has to run after the adapter. This check moves the hook to the adapter,
      and back to the layer when the adapter is merged into it.

    A pickle must be loadable without Esper, so it stores the check as a ``torch.fx`` graph. The
    graph raises ``AssertionError`` with the same message, and does not move hooks.

    Attributes:
        slot: Id of the slot in which the seed grew.
        path: Name of the submodule after which the seed runs.
        hook: The seed's forward hook.
        module: The module that has the hook.
    """

    def __init__(self, slot: str, path: str, hook: fx.GraphModule, module: nn.Module) -> None:
        self.slot = slot
        self.path = path
        self.hook = hook
        self.module = module

    def register(self, model: nn.Module) -> None:
        """Registers the check on the model, and its handle in ``grown_checks[path]`` there."""
        checks = model.__dict__.setdefault("grown_checks", {})
        checks.setdefault(self.path, []).append(model.register_forward_pre_hook(self))

    def __call__(self, model: nn.Module, _inputs: Any) -> None:
        """Checks that the seed runs in this pass, and moves its hook to or from an adapter.

        Raises:
            KasminaError: If no module of the model has the hook.
        """
        if torch.compiler.is_compiling():
            return
        now = self._find_submodule(model)
        if now is not None and now is not self.module and _is_adapted(now, self.module):
            move_forward_hook(self.hook, self.module, now)
            self.module = now
        found = now is not None and self._is_hook_of(now)
        if not found and not any(self._is_hook_of(module) for module in model.modules()):
            raise KasminaError(self._message)

    @property
    def _message(self) -> str:
        return (
            f"the seed of slot '{self.slot}' is lost: submodule '{self.path}', after which it ran, "
            "was replaced, or its hooks were removed; replace the submodule before the harvest, "
            "or, if you do not want the seed, call remove() of each handle in "
            f"model.grown_checks['{self.path}']"
        )

    def _find_submodule(self, model: nn.Module) -> nn.Module | None:
        """Returns the submodule that has the name ``path`` now, ``None`` if there is none."""
        module: nn.Module | None = model
        for part in self.path.split("."):
            module = None if module is None else children(module).get(part)
        return module

    def _is_hook_of(self, module: nn.Module) -> bool:
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


def _is_adapted(one: nn.Module, other: nn.Module) -> bool:
    """Whether one of two modules is an adapter around the other."""
    return _base_layer(one) is other or _base_layer(other) is one


def _base_layer(module: nn.Module) -> nn.Module | None:
    get_base_layer = getattr(module, "get_base_layer", None)
    layer = get_base_layer() if callable(get_base_layer) else None
    return layer if isinstance(layer, nn.Module) else None
