"""Adds harvested seeds to a plain model, each after the submodule that had the slot.

There are two ways:

- A single layer is replaced by a graph that runs the layer and then the seed (``wrap``). Tools
  that replace layers (``convert_sync_batchnorm``, fusing) drop the hooks of a layer, and would
  drop the seed with them.
- Any other module gets a forward hook (``add_hook``). The module stays the same object, with its
  class, length, children and names in the state dict.
"""

from __future__ import annotations

import inspect
from itertools import chain, count
from typing import Any, cast

from torch import Tensor, fx, nn
from torch.utils.hooks import RemovableHandle

from esper_kasmina._torch import children, forward_hooks, forward_pre_hooks, has_backward_hooks
from esper_kasmina.activations.outputs import trace_replacement
from esper_kasmina.errors import KasminaError
from esper_kasmina.grafting.lost_seeds import LostSeedCheck
from esper_kasmina.grafting.registration import CONTAINERS, find_module_for_seed, is_torch_class
from esper_kasmina.grafting.scripting import ScriptableModel, ScriptableModule, run_in_order
from esper_kasmina.grafting.slot_hooks import SlotHook


def wrap(root: nn.Module, path: str, seed: fx.GraphModule) -> None:
    """Replaces a submodule by a graph that runs it as ``module``, and then the seed."""
    module = root.get_submodule(path)
    root.set_submodule(path, run_in_order(module, seed))


def can_be_wrapped(module: nn.Module, handle: RemovableHandle) -> bool:
    """Whether a module is a single layer that has no hook except the slot's.

    A layer is a module of torch, a subclass of one, or an adapter around one (the LoRA layers
    of ``peft``, which ``merge_and_unload`` replaces by what ``get_base_layer`` returns).

    Args:
        module: The module after which the slot runs.
        handle: Of the slot's hook.
    """
    others = [key for key in forward_hooks(module) if key != handle.id]
    hooks = others or forward_pre_hooks(module) or has_backward_hooks(module)
    layer = callable(getattr(module, "get_base_layer", None)) or _is_layer(module)
    return layer and not hooks and _takes_one_input(module)


def add_hook(
    root: nn.Module, slot_hook: SlotHook, seed: fx.GraphModule, handle: RemovableHandle
) -> None:
    """Replaces a slot's forward hook by one that runs the seed.

    Args:
        root: The model.
        slot_hook: The slot's hook, which says where the seed runs and on what.
        seed: The seed as a graph.
        handle: Of the slot's hook. The seed's hook takes over its id, so that the order of the
            module's hooks stays the same.

    Raises:
        KasminaError: If the model has no module in which the seed can be registered.
    """
    module = root.get_submodule(slot_hook.path)
    hook = _seed_hook(slot_hook, seed)
    hook.train(module.training)
    owner = find_module_for_seed(root, slot_hook.path)
    owner.add_module(_free_name(owner, f"grown_{slot_hook.slot.name}"), hook)
    forward_hooks(module)[handle.id] = hook
    # Unpickling the handle keeps torch from giving its id to another hook.
    cast("Any", module).grown_handle = handle
    LostSeedCheck(slot_hook.slot.name, slot_hook.path, hook, module).register(root)
    if slot_hook.output is None:
        ScriptableModule.add_seed(module, seed)
    ScriptableModel.register(root)


def _seed_hook(slot_hook: SlotHook, seed: fx.GraphModule) -> fx.GraphModule:
    """Returns a forward hook: a graph that takes (module, inputs, output) and runs the seed."""
    if slot_hook.output is not None and slot_hook.container is None:
        raise KasminaError(
            f"it is not known what submodule '{slot_hook.path}' of slot '{slot_hook.slot.name}' "
            "returns; run one forward pass before you harvest"
        )
    graph = fx.Graph()
    graph.placeholder("module")
    graph.placeholder("inputs")
    output = graph.placeholder("output")
    container = slot_hook.container or Tensor
    graph.output(trace_replacement(graph, output, "seed", slot_hook.output, container))
    return fx.GraphModule({"seed": seed}, graph, class_name="Grown")


def _free_name(owner: nn.Module, name: str) -> str:
    """Returns the name, or the name with a number if an earlier harvest has used it."""
    names = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(each for each in names if not hasattr(owner, each))


def _is_layer(module: nn.Module) -> bool:
    """Whether a module is a torch module, or a subclass of one, without children."""
    torch_classes = {kind for kind in type(module).__mro__ if is_torch_class(kind)}
    is_torch_module = bool(torch_classes - {object, nn.Module})
    return is_torch_module and not children(module) and not isinstance(module, CONTAINERS)


def _takes_one_input(module: nn.Module) -> bool:
    parameters = [
        each
        for each in inspect.signature(module.forward).parameters.values()
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    return len(parameters) == 1 and parameters[0].kind is parameters[0].POSITIONAL_OR_KEYWORD
