"""The private parts of torch that this package uses.

``tests/test_private_torch.py`` has a test for each of them, whose name says what stops working
when torch changes it.
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
    "leaky_relu_backward",
    "max_pool_2x2",
    "max_pool_2x2_backward",
    "mixed_precision_policy",
    "move_forward_hook",
    "reduced_parameters",
    "relu_backward",
    "scheduler_parts",
    "shallow_copy",
    "silu_backward",
    "version_of",
]

COMPILED = "_orig_mod"
"""Name of the child that is the original module in a module made by ``torch.compile``."""

LAST_RATES = "_last_lr"
"""Attribute of a scheduler: the learning rate of each parameter group at the last step."""

_KERNEL_AND_STRIDE = ([2, 2], [2, 2])
_PADDING_DILATION_CEIL = ([0, 0], [1, 1], False)


def children(module: nn.Module) -> dict[str, nn.Module | None]:
    """Returns the dictionary of the module's children; a look-up in it is fast."""
    return module._modules


def forward_hooks(module: nn.Module) -> dict[int, Any]:
    """Returns the module's forward hooks in the order of their calls, by handle id."""
    return module._forward_hooks


def move_forward_hook(hook: object, source: nn.Module, target: nn.Module) -> None:
    """Moves a forward hook to another module; its id stays the same.

    The two attributes that a harvest stores on the module with the hook move too: the hook's
    handle (``grown_handle``) and what ``torch.jit.script`` compiles in place of the module.
    """
    hooks = forward_hooks(target)
    for key in [key for key, each in forward_hooks(source).items() if each is hook]:
        hooks[key] = forward_hooks(source).pop(key)
        handle = RemovableHandle(hooks)
        handle.id = key
        target.__dict__["grown_handle"] = handle
        source.__dict__.pop("grown_handle", None)
    scriptable = source.__dict__.pop("__prepare_scriptable__", None)
    if scriptable is not None:
        scriptable.module = target
        target.__dict__["__prepare_scriptable__"] = scriptable


def forward_pre_hooks(module: nn.Module) -> dict[int, Any]:
    """Returns the module's forward pre-hooks in the order of their calls, by handle id."""
    return module._forward_pre_hooks


def has_backward_hooks(module: nn.Module) -> bool:
    """Whether the module has backward hooks or backward pre-hooks."""
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
    """Returns a copy that has the same children and hooks, in dictionaries of its own."""
    copied = copy.copy(module)
    copied._modules = copy.copy(module._modules)
    copied._forward_hooks = copy.copy(module._forward_hooks)
    copied._forward_pre_hooks = copy.copy(module._forward_pre_hooks)
    return copied


def is_compiled(module: nn.Module) -> bool:
    """Whether a module was made by ``torch.compile``, or its method ``compile`` was called."""
    return COMPILED in module._modules or module._compiled_call_impl is not None


def version_of(tensor: Tensor) -> int | None:
    """Returns how often a tensor was modified in place; ``None`` for an inference tensor."""
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
    """Returns the maxima [B, C, H // 2, W // 2] and their indices, for the backward pass."""
    largest, indices = torch.ops.aten.max_pool2d_with_indices(images, *_KERNEL_AND_STRIDE)
    return largest, indices


def max_pool_2x2_backward(gradient: Tensor, images: Tensor, indices: Tensor) -> Tensor:
    """Returns the gradient [B, C, H, W] of ``max_pool_2x2``."""
    for_images: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        gradient, images, *_KERNEL_AND_STRIDE, *_PADDING_DILATION_CEIL, indices
    )
    return for_images


def relu_backward(gradient: Tensor, output: Tensor) -> Tensor:
    """Returns the gradient at the input of ReLU, given its output."""
    for_input: Tensor = torch.ops.aten.threshold_backward(gradient, output, 0)
    return for_input


def leaky_relu_backward(gradient: Tensor, output: Tensor, slope: float) -> Tensor:
    """Returns the gradient at the input of a leaky ReLU of positive slope, given its output."""
    for_input: Tensor = torch.ops.aten.leaky_relu_backward(gradient, output, slope, True)
    return for_input


def silu_backward(gradient: Tensor, inputs: Tensor) -> Tensor:
    """Returns the gradient at the input of SiLU, given the input."""
    for_input: Tensor = torch.ops.aten.silu_backward(gradient, inputs)
    return for_input
