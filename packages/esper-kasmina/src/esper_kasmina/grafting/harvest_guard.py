"""A harvest says so when a seed that runs as a forward hook is lost with its module."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import fx, nn

from esper_kasmina._torch import children, forward_hooks, graph_assert
from esper_kasmina.errors import KasminaError


class LostSeedCheck:
    """Forward pre-hook of a harvest: some module of it still carries a seed's hook.

    Tools that replace a layer (``convert_sync_batchnorm``, a new head) drop the hooks of the
    old one. A tool may move the hook to another module, as fusing does. A pickle, which has to
    load without Esper, holds the same check as a graph that looks at the hook's first place.

    Attributes:
        slot: Id of the slot in which the seed grew.
        path: Name of the submodule behind which the seed runs.
        hook: The seed's forward hook.
    """

    def __init__(self, slot: str, path: str, hook: fx.GraphModule) -> None:
        self.slot = slot
        self.path = path
        self.hook = hook

    def register(self, model: nn.Module) -> None:
        """Makes it a hook of the model, whose ``grown_checks`` holds the handles by submodule."""
        checks = model.__dict__.setdefault("grown_checks", {})
        checks.setdefault(self.path, []).append(model.register_forward_pre_hook(self))

    def __call__(self, model: nn.Module, _inputs: Any) -> None:
        """Checks that the seed will run.

        Raises:
            KasminaError: If no module carries its hook any more.
        """
        if torch.compiler.is_compiling() or any(self._is_carried_by(m) for m in self._order(model)):
            return
        raise KasminaError(self._message)

    @property
    def _message(self) -> str:
        return (
            f"the seed of slot '{self.slot}' is lost: submodule '{self.path}', which it ran "
            "behind, was replaced; replace it before the harvest, or, if the seed is not wanted "
            f"any more, call remove() of each of model.grown_checks['{self.path}']"
        )

    def _order(self, model: nn.Module) -> Any:
        """Yields the seed's own place first, and then every module."""
        module: nn.Module | None = model
        for part in self.path.split("."):
            module = None if module is None else children(module).get(part)
        if module is not None:
            yield module
        yield from model.modules()

    def _is_carried_by(self, module: nn.Module) -> bool:
        return any(hook is self.hook for hook in forward_hooks(module).values())

    def __deepcopy__(self, memo: dict[int, Any]) -> LostSeedCheck:
        """Returns the check of the copied seed."""
        return LostSeedCheck(self.slot, self.path, copy.deepcopy(self.hook, memo))

    def __reduce__(self) -> Any:
        """Leaves a graph in a pickle, which looks for the handle beside the hook."""
        graph = fx.Graph()
        module = graph.placeholder("module")
        graph.placeholder("inputs")
        for part in (*self.path.split("."), "grown_handle"):
            module = graph.call_function(getattr, (module, part))
        graph.call_function(graph_assert, (module, self._message))
        graph.output(None)
        # The function alone, because torch.fx traces no module that is not registered.
        return getattr, (fx.GraphModule(nn.Module(), graph, class_name="GrownCheck"), "forward")
