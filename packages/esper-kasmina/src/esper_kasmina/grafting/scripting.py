"""What ``torch.jit.script`` compiles in place of the modules of a harvest.

Torch cannot script a forward hook that is a module, or a pre-hook that is an object. Before it
compiles a module, it calls the module's ``__prepare_scriptable__`` if there is one, and compiles
what that returns. A pickle must be loadable without Esper, so it stores ``None`` for these objects,
and ``torch.jit.script`` then refuses the module.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import fx, nn

from esper_kasmina._torch import forward_hooks, forward_pre_hooks, shallow_copy
from esper_kasmina.grafting.lost_seeds import LostSeedCheck

_ATTRIBUTE = "__prepare_scriptable__"


class ScriptableModel:
    """Returns a harvest without its checks for lost seeds.

    Attributes:
        module: The harvest.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @staticmethod
    def register(model: nn.Module) -> None:
        """Lets ``torch.jit.script`` call this for a model, if it calls nothing for it yet."""
        if _ATTRIBUTE not in model.__dict__:
            model.__dict__[_ATTRIBUTE] = ScriptableModel(model)

    def __call__(self) -> nn.Module:
        """Returns the module to compile."""
        copied = _copy_to_compile(self.module)
        hooks = forward_pre_hooks(copied)
        for key in [key for key, hook in hooks.items() if isinstance(hook, LostSeedCheck)]:
            del hooks[key]
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> ScriptableModel:
        """Returns the same for the copied model."""
        return ScriptableModel(copy.deepcopy(self.module, memo))

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Is ``None`` in a pickle."""
        return type(None), ()


class ScriptableModule:
    """Returns a module that has seeds as forward hooks as a graph that runs it and its seeds.

    Attributes:
        module: The module.
        seeds: Its seeds in the order in which they run; several if a harvest was grown again.
    """

    def __init__(self, module: nn.Module, seeds: tuple[fx.GraphModule, ...]) -> None:
        self.module = module
        self.seeds = seeds

    @staticmethod
    def add_seed(module: nn.Module, seed: fx.GraphModule) -> None:
        """Lets ``torch.jit.script`` compile one more seed after a module."""
        earlier = module.__dict__.get(_ATTRIBUTE)
        seeds = (*(earlier.seeds if isinstance(earlier, ScriptableModule) else ()), seed)
        module.__dict__[_ATTRIBUTE] = ScriptableModule(module, seeds)

    def __call__(self) -> nn.Module:
        """Returns the module to compile."""
        compiled: nn.Module = _copy_to_compile(self.module)
        for _ in self.seeds:
            # Removes the seeds' hooks, which are the last. A hook of the user that comes after
            # them is removed in place of a seed's, which torch then refuses to compile.
            forward_hooks(compiled).popitem()
        for seed in self.seeds:
            compiled = run_in_order(compiled, seed)
        return compiled

    def __deepcopy__(self, memo: dict[int, Any]) -> ScriptableModule:
        """Returns the same for the copied module."""
        return ScriptableModule(copy.deepcopy(self.module, memo), copy.deepcopy(self.seeds, memo))

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Is ``None`` in a pickle."""
        return type(None), ()


def run_in_order(module: nn.Module, seed: fx.GraphModule) -> fx.GraphModule:
    """Returns a graph that runs a module, and then a seed on its output."""
    graph = fx.Graph()
    hidden = graph.call_module("module", (graph.placeholder("inputs"),))
    graph.output(graph.call_module("seed", (hidden,)))
    joined = fx.GraphModule({"module": module, "seed": seed}, graph, class_name="Grown")
    joined.training = module.training
    return joined


def _copy_to_compile(module: nn.Module) -> nn.Module:
    """Returns a shallow copy, because torch replaces the children of what it compiles."""
    copied = shallow_copy(module)
    del copied.__dict__[_ATTRIBUTE]
    return copied
