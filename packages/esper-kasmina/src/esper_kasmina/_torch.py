"""Everything of torch that this package uses and torch does not document as public.

``tests/test_private_torch.py`` says for each function what stops working when torch changes it.
"""

# ruff: noqa: SLF001 - this module is where private names of torch are read

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNormBase
from torch.nn.parallel import DistributedDataParallel
from torch.utils.hooks import RemovableHandle

__all__ = [
    "COMPILED",
    "LAST_RATES",
    "BatchNormBase",
    "active_data_parallel",
    "children",
    "forward_hooks",
    "forward_pre_hooks",
    "has_backward_hooks",
    "hook_check",
    "is_compiled",
    "max_pool_2x2",
    "max_pool_2x2_backward",
    "mixed_precision_policy",
    "move_forward_hook",
    "reduced_parameters",
    "relu_backward",
    "scheduler_parts",
    "shallow_copy",
    "version_of",
]

COMPILED = "_orig_mod"
"""Name under which ``torch.compile`` holds the module that it was given."""

LAST_RATES = "_last_lr"
"""Attribute of a scheduler: the learning rates of its last step, one a group."""

_HALVE = ([2, 2], [2, 2])
_NO_PADDING = ([0, 0], [1, 1], False)


def children(module: nn.Module) -> dict[str, nn.Module | None]:
    """Returns the module's own children by name, to look one up at every forward pass."""
    return module._modules


def forward_hooks(module: nn.Module) -> dict[int, Any]:
    """Returns the module's own forward hooks by the number of their handle, in order."""
    return module._forward_hooks


def move_forward_hook(hook: object, source: nn.Module, target: nn.Module) -> None:
    """Moves a forward hook to another module, under the number that it has.

    What a harvest keeps beside the hook goes along: its handle (``grown_handle``) and the form
    that ``torch.jit.script`` compiles.
    """
    hooks = forward_hooks(target)
    for key in [key for key, each in forward_hooks(source).items() if each is hook]:
        hooks[key] = forward_hooks(source).pop(key)
        handle = RemovableHandle(hooks)
        handle.id = key
        target.__dict__["grown_handle"] = handle
        source.__dict__.pop("grown_handle", None)
    form = source.__dict__.pop("__prepare_scriptable__", None)
    if form is not None:
        form.module = target
        target.__dict__["__prepare_scriptable__"] = form


def forward_pre_hooks(module: nn.Module) -> dict[int, Any]:
    """Returns the module's own forward pre-hooks by the number of their handle, in order."""
    return module._forward_pre_hooks


def has_backward_hooks(module: nn.Module) -> bool:
    """Whether the module has full backward hooks or pre-hooks."""
    return bool(module._backward_hooks or module._backward_pre_hooks)


def hook_check(path: str, hook: nn.Module, message: str) -> fx.GraphModule:
    """Returns a graph that checks that a submodule of a model has a forward hook.

    The graph is called as a forward pre-hook of the model. It raises ``AssertionError(message)``
    if no submodule has this name now, or if the submodule does not have the hook. It looks
    everything up in dictionaries, because ``getattr`` with a default does not survive the
    pickling of a ``torch.fx`` graph.

    Args:
        path: Name of the submodule.
        hook: The forward hook. It is a module, because a pickled graph refers to modules only.
        message: The text of the error.
    """
    graph = fx.Graph()
    module = graph.placeholder("model")
    graph.placeholder("inputs")
    for part in path.split("."):
        children_by_name = graph.call_function(getattr, (module, "_modules"))
        module = graph.call_method("get", (children_by_name, part))
        present = graph.call_function(operator.ne, (module, None))
        graph.call_function(torch._assert, (present, message))
    hooks = graph.call_function(getattr, (module, "_forward_hooks"))
    # {hook: True for each hook}.get(hook): torch.fx cannot trace ``in``
    present_hooks = graph.call_method(
        "fromkeys", (hooks, graph.call_method("values", (hooks,)), True)
    )
    found = graph.call_method("get", (present_hooks, graph.get_attr("hook")))
    graph.call_function(torch._assert, (found, message))
    graph.output(None)
    return fx.GraphModule(nn.ModuleDict({"hook": hook}), graph, class_name="LostSeedCheck")


def scheduler_parts(scheduler: Any) -> list[Any]:
    """Returns the schedulers of a ``SequentialLR`` or ``ChainedScheduler``."""
    return list(getattr(scheduler, "_schedulers", ()))


def shallow_copy(module: nn.Module) -> nn.Module:
    """Returns a copy with the same children and hooks, in which these can be replaced."""
    copied = copy.copy(module)
    copied._modules = copy.copy(module._modules)
    copied._forward_hooks = copy.copy(module._forward_hooks)
    copied._forward_pre_hooks = copy.copy(module._forward_pre_hooks)
    return copied


def is_compiled(module: nn.Module) -> bool:
    """Whether a module came from ``torch.compile``, or its ``compile`` was called."""
    return COMPILED in module._modules or module._compiled_call_impl is not None


def version_of(tensor: Tensor) -> int | None:
    """Returns how often a tensor was written in place; ``None`` in inference mode."""
    return None if tensor.is_inference() else tensor._version


def active_data_parallel() -> DistributedDataParallel | None:
    """Returns the ``DistributedDataParallel`` whose forward pass runs now."""
    wrapper: DistributedDataParallel | None = DistributedDataParallel._active_ddp_module
    return wrapper


def reduced_parameters(wrapper: DistributedDataParallel) -> list[nn.Parameter]:
    """Returns the parameters whose gradients the wrapper averages over ranks."""
    parameters: list[nn.Parameter] = list(wrapper._module_parameters)
    return parameters


def mixed_precision_policy(module: Any) -> Any:
    """Returns the ``MixedPrecisionPolicy`` with which ``fully_shard`` wrapped a module."""
    return module._get_fsdp_state()._mp_policy


def max_pool_2x2(images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the maxima [B, C, H // 2, W // 2] and where they are, for the backward pass."""
    largest, indices = torch.ops.aten.max_pool2d_with_indices(images, *_HALVE)
    return largest, indices


def max_pool_2x2_backward(gradient: Tensor, images: Tensor, indices: Tensor) -> Tensor:
    """Returns the gradient [B, C, H, W] of ``max_pool_2x2``."""
    spread: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        gradient, images, *_HALVE, *_NO_PADDING, indices
    )
    return spread


def relu_backward(gradient: Tensor, output: Tensor) -> Tensor:
    """Returns the gradient of ReLU from its output."""
    through: Tensor = torch.ops.aten.threshold_backward(gradient, output, 0)
    return through
