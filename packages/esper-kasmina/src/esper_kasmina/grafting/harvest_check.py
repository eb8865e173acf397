"""Whether a harvest computes what the grown model computes, on inputs that it has seen."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from esper_kasmina._torch import forward_hooks, forward_pre_hooks
from esper_kasmina.errors import KasminaError
from esper_kasmina.grafting.copies import copy_model
from esper_kasmina.grafting.slot_hooks import SlotHook

TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Largest difference allowed, as a share of the largest output, or of 1 where that is less."""

COARSE = 2e-2
"""The same for half precision and what is below it."""

_OWN_HOOKS = (SlotHook, fx.GraphModule)


def describe_difference(
    grown: nn.Module, plain: nn.Module, inputs: Sequence[Any], options: Mapping[str, Any]
) -> str | None:
    """Compares the outputs of copies in evaluation mode; both models stay as they are.

    Forward hooks and pre-hooks other than those of slots and seeds are left out on both
    sides, because they may have effects; they keep their places in a harvest.

    Args:
        grown: The model with slots.
        plain: Its harvest.
        inputs: Positional arguments.
        options: Keyword arguments.

    Returns:
        How the outputs differ, ``None`` where they do by rounding at most.

    Raises:
        KasminaError: If the grown model does not run on these inputs.
    """
    try:
        wanted, hooks = _outputs(grown, inputs, options, hooks=False), False
    except Exception:  # noqa: BLE001 - a model may need its hooks, whatever it says without them
        wanted, hooks = _grown_outputs(grown, inputs, options), True
    try:
        outputs = _outputs(plain, inputs, options, hooks=hooks)
    except Exception as error:  # noqa: BLE001 - the error is reported as the difference
        return f"in that it does not run ({type(error).__name__}: {' '.join(str(error).split())})"
    return _difference(wanted, outputs)


def _grown_outputs(
    grown: nn.Module, inputs: Sequence[Any], options: Mapping[str, Any]
) -> list[Tensor]:
    try:
        return _outputs(grown, inputs, options, hooks=True)
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise KasminaError(
            "the grown model does not run on the inputs to compare; give example_inputs, one "
            "input or a tuple of positional ones, or say verify=False "
            f"({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error


def _outputs(
    model: nn.Module, inputs: Sequence[Any], options: Mapping[str, Any], *, hooks: bool
) -> list[Tensor]:
    """Runs a copy of a model in evaluation mode, always from the same random state."""
    copied = copy_model(model).eval()
    if not hooks:
        _remove_foreign_hooks(copied)
    arguments, named = copy.deepcopy((tuple(inputs), dict(options)))
    with (
        torch.no_grad(),
        torch.random.fork_rng(_accelerators(model)),
        torch.compiler.set_stance("force_eager"),
    ):
        torch.manual_seed(0)
        return [*_tensors(copied(*arguments, **named))]


def _remove_foreign_hooks(model: nn.Module) -> None:
    for module in model.modules():
        for hooks in (forward_hooks(module), forward_pre_hooks(module)):
            foreign = [k for k, hook in hooks.items() if not isinstance(hook, _OWN_HOOKS)]
            for key in foreign:
                del hooks[key]


def _accelerators(model: nn.Module) -> list[int]:
    devices = {parameter.device for parameter in model.parameters()}
    return sorted({device.index or 0 for device in devices if device.type == "cuda"})


def _tensors(output: Any) -> Iterator[Tensor]:
    """Yields every tensor in an output, in order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for each in output.values():
            yield from _tensors(each)
    elif isinstance(output, tuple | list):
        for each in output:
            yield from _tensors(each)
    elif is_dataclass(output):
        for field in fields(output):
            yield from _tensors(getattr(output, field.name))


def _difference(first: Sequence[Tensor], second: Sequence[Tensor]) -> str | None:
    """Describes the difference between outputs, ``None`` where it is rounding."""
    shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in (first, second)]
    if shapes[0] != shapes[1]:
        return f"in shape, {shapes[1]} instead of {shapes[0]}"
    for one, other in zip(first, second, strict=True):
        if not one.numel() or torch.equal(one, other):
            continue
        wide = [
            each.to(torch.complex128 if each.is_complex() else torch.float64)
            for each in (one, other)
        ]
        same = torch.isclose(wide[0], wide[1], rtol=0.0, atol=0.0, equal_nan=True)
        largest = torch.where(same, 0.0, (wide[0] - wide[1]).abs()).max().item()
        scale = max(1.0, wide[0].abs().nan_to_num(posinf=0.0, neginf=0.0).max().item())
        if not largest <= TOLERANCES.get(one.dtype, COARSE) * scale:
            return f"by {largest:.2g}, where the largest output is {scale:.2g}"
    return None
