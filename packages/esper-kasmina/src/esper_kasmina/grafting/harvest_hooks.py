"""Fossils built into a plain model, each at its slot's place, as ``torch.fx`` graphs.

A single layer of torch is replaced by a graph that runs it and then the seed: tools that
replace layers (``convert_sync_batchnorm``, fusing) drop their hooks. Anything else gets a
forward hook, which leaves it as it is: same object, class, length, indexing, children that
its code loops over, and names in the state dict. The seed's own modules are then
registered where no code loops over children, so that no container runs them as layers.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from itertools import chain, count
from types import CodeType, FunctionType
from typing import Any, cast

from torch import Tensor, fx, nn
from torch.utils.hooks import RemovableHandle

from esper_kasmina._torch import (
    children,
    forward_hooks,
    forward_pre_hooks,
    has_backward_hooks,
    shallow_copy,
)
from esper_kasmina.activations.outputs import trace_replacement
from esper_kasmina.errors import KasminaError
from esper_kasmina.grafting.harvest_guard import LostSeedCheck
from esper_kasmina.grafting.slot_hooks import SlotHook

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_LOOPS = frozenset({"children", "named_children", "modules", "named_modules", "_modules"})


def wrap(root: nn.Module, path: str, seed: fx.GraphModule) -> None:
    """Replaces a submodule by a graph that runs it as ``module``, and then the seed."""
    module = root.get_submodule(path)
    root.set_submodule(path, _joined(module, seed))


def can_be_wrapped(module: nn.Module, handle: RemovableHandle) -> bool:
    """Whether a module is a single layer with no hook but the slot's.

    A layer is a module of torch, a subclass of one, or an adapter around one (the LoRA layers
    of ``peft``, which ``merge_and_unload`` replaces by what ``get_base_layer`` returns).
    """
    others = [key for key in forward_hooks(module) if key != handle.id]
    hooks = others or forward_pre_hooks(module) or has_backward_hooks(module)
    layer = callable(getattr(module, "get_base_layer", None)) or _is_layer(module)
    return layer and not hooks and _takes_one_input(module)


def add_hook(
    root: nn.Module, taken: SlotHook, seed: fx.GraphModule, handle: RemovableHandle
) -> None:
    """Runs a seed after a submodule, in the place of the slot's own forward hook.

    Args:
        root: The model.
        taken: The slot's hook, which says where the seed runs and on what.
        seed: The seed as a graph.
        handle: That of the slot's hook. The seed takes its number, so every other hook
            keeps its place in the order.

    Raises:
        KasminaError: If the model has no module in which the seed can be registered.
    """
    if taken.output is not None and taken.container is None:
        raise KasminaError(
            f"slot '{taken.slot.name}' has not seen what submodule '{taken.path}' returns; "
            "run one forward pass before you harvest"
        )
    module = root.get_submodule(taken.path)
    graph = fx.Graph()
    graph.placeholder("module")
    graph.placeholder("inputs")
    output = graph.placeholder("output")
    container = taken.container or Tensor
    graph.output(trace_replacement(graph, output, "seed", taken.output, container))
    hook = fx.GraphModule({"seed": seed}, graph, class_name="Grown")
    hook.train(module.training)
    home = _home(root, taken.path)
    name = _free_name(home, f"grown_{taken.slot.name}")
    home.add_module(name, hook)
    forward_hooks(module)[handle.id] = hook
    # The handle goes along, because unpickling it keeps its number from being used again.
    cast("Any", module).grown_handle = handle
    LostSeedCheck(taken.slot.name, taken.path, hook, module).register(root)
    if taken.output is None:
        earlier = module.__dict__.get("__prepare_scriptable__")
        seeds = (*(earlier.seeds if isinstance(earlier, ScriptableForm) else ()), seed)
        module.__dict__["__prepare_scriptable__"] = ScriptableForm(module, seeds)
    if "__prepare_scriptable__" not in root.__dict__:
        root.__dict__["__prepare_scriptable__"] = UncheckedForm(root)


def _free_name(home: nn.Module, name: str) -> str:
    """Returns a name, with a number behind it where an earlier harvest has taken it."""
    names = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(each for each in names if not hasattr(home, each))


class UncheckedForm:
    """Answers ``torch.jit.script``, which takes no hook of a class.

    Torch calls ``__prepare_scriptable__`` of each module for one to compile in its place.
    A pickle does not take this along, as it could not be loaded without Esper.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self) -> nn.Module:
        """Returns the model without the checks for lost seeds."""
        bare = _bare(self.module)
        hooks = forward_pre_hooks(bare)
        for key in [key for key, hook in hooks.items() if isinstance(hook, LostSeedCheck)]:
            del hooks[key]
        return bare

    def __deepcopy__(self, memo: dict[int, Any]) -> UncheckedForm:
        """Returns the form of the copied model."""
        return UncheckedForm(copy.deepcopy(self.module, memo))

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Leaves ``None`` in a pickle, which ``torch.jit.script`` refuses to call."""
        return type(None), ()


class ScriptableForm:
    """The same for a module with the hooks of seeds.

    Attributes:
        module: The module.
        seeds: Its seeds in the order in which they run; several where a harvest was grown again.
    """

    def __init__(self, module: nn.Module, seeds: tuple[fx.GraphModule, ...]) -> None:
        self.module = module
        self.seeds = seeds

    def __call__(self) -> nn.Module:
        """Returns a module that runs the bare submodule, and then the seeds."""
        joined = _bare(self.module)
        for _ in self.seeds:
            # Ours are the last; where a user's comes after them, it stays and torch refuses it.
            forward_hooks(joined).popitem()
        for seed in self.seeds:
            joined = _joined(joined, seed)
        return joined

    def __deepcopy__(self, memo: dict[int, Any]) -> ScriptableForm:
        """Returns the form of the copied submodule."""
        return ScriptableForm(copy.deepcopy(self.module, memo), copy.deepcopy(self.seeds, memo))

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Leaves ``None`` in a pickle, which ``torch.jit.script`` refuses to call."""
        return type(None), ()


def _bare(module: nn.Module) -> nn.Module:
    """Returns a shallow copy for torch to compile, into which torch may put its own children."""
    bare = shallow_copy(module)
    del bare.__dict__["__prepare_scriptable__"]
    return bare


def _joined(module: nn.Module, seed: fx.GraphModule) -> fx.GraphModule:
    graph = fx.Graph()
    hidden = graph.call_module("module", (graph.placeholder("inputs"),))
    graph.output(graph.call_module("seed", (hidden,)))
    joined = fx.GraphModule({"module": module, "seed": seed}, graph, class_name="Grown")
    joined.training = module.training
    return joined


def _is_layer(module: nn.Module) -> bool:
    kinds = {kind for kind in type(module).__mro__ if _is_torchs(kind)} - {object, nn.Module}
    return bool(kinds) and not children(module) and not isinstance(module, _CONTAINERS)


def _takes_one_input(module: nn.Module) -> bool:
    parameters = [
        each
        for each in inspect.signature(module.forward).parameters.values()
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    return len(parameters) == 1 and parameters[0].kind is parameters[0].POSITIONAL_OR_KEYWORD


def _home(root: nn.Module, path: str) -> nn.Module:
    """Returns the module nearest to a submodule that loops over no children."""
    module = root.get_submodule(path)
    if not _loops_over_children(module):
        return module
    inside = [each for each in _inside(module) if not _loops_over_children(each)]
    # A block or an activation is less likely to be replaced later than a layer of weights.
    inside.sort(key=_has_tensors)
    parts = path.split(".")[:-1]
    above = [root.get_submodule(".".join(parts[:end])) for end in range(len(parts), -1, -1)]
    for each in [*inside, *above]:
        if not _loops_over_children(each):
            return each
    raise KasminaError(
        f"submodule '{path}' and everything around it loop over their children, so that a "
        "seed there would run as one more layer; put the slot after another submodule"
    )


def _has_tensors(module: nn.Module) -> bool:
    own = (module.parameters(recurse=False), module.buffers(recurse=False))
    return any(True for tensors in own for _ in tensors)


def _inside(module: nn.Module) -> Iterator[nn.Module]:
    """Yields the modules in a module, the last child first, outer ones before inner ones."""
    children = [*module.children()][::-1]
    yield from children
    for child in children:
        yield from _inside(child)


def _loops_over_children(module: nn.Module) -> bool:
    """Whether a module's class runs or counts its children without naming them."""
    if isinstance(module, _CONTAINERS):
        return True
    own = [kind for kind in type(module).__mro__ if not _is_torchs(kind)]
    return any(_LOOPS & _names(kind) for kind in own)


def _is_torchs(kind: type) -> bool:
    return kind is object or kind.__module__.partition(".")[0] == "torch"


def _names(kind: type) -> set[str]:
    functions = [each for each in vars(kind).values() if isinstance(each, FunctionType)]
    return {name for function in functions for name in _names_in(function.__code__)}


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
