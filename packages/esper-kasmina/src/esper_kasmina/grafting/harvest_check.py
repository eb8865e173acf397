"""Compares the outputs of a harvest with those of the grown model."""

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
"""Largest allowed difference, relative to the largest output, or to 1 if that is less."""

LOW_PRECISION_TOLERANCE = 2e-2
"""The same for half precision and smaller types."""

_OWN_HOOKS = (SlotHook, fx.GraphModule)


def describe_difference(
    grown: nn.Module, plain: nn.Module, inputs: Sequence[Any], options: Mapping[str, Any]
) -> str | None:
    """Compares the outputs of copies of two models in evaluation mode.

    The user's forward hooks and pre-hooks are not run, because they may have side effects. They
    run only if the grown model fails without them.

    Args:
        grown: The model with slots.
        plain: Its harvest.
        inputs: Positional arguments.
        options: Keyword arguments.

    Returns:
        How the outputs differ, ``None`` if they differ by rounding at most.

    Raises:
        KasminaError: If the grown model does not run on these inputs.
    """
    try:
        expected, hooks = _outputs(grown, inputs, options, hooks=False), False
    except Exception:  # noqa: BLE001 - a model that needs its hooks may raise anything
        expected, hooks = _grown_outputs(grown, inputs, options), True
    try:
        outputs = _outputs(plain, inputs, options, hooks=hooks)
    except Exception as error:  # noqa: BLE001 - the error is reported as the difference
        return f"in that it does not run ({type(error).__name__}: {' '.join(str(error).split())})"
    return _difference(expected, outputs)


def _grown_outputs(
    grown: nn.Module, inputs: Sequence[Any], options: Mapping[str, Any]
) -> list[Tensor]:
    try:
        return _outputs(grown, inputs, options, hooks=True)
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise KasminaError(
            "the grown model does not run on the inputs to compare; give example_inputs, one "
            "input or a tuple of positional ones, or set verify=False "
            f"({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error


def _outputs(
    model: nn.Module, inputs: Sequence[Any], options: Mapping[str, Any], *, hooks: bool
) -> list[Tensor]:
    """Runs a copy of a model in evaluation mode, always with the same random state."""
    copied = copy_model(model).eval()
    if not hooks:
        _remove_users_hooks(copied)
    arguments, named = copy.deepcopy((tuple(inputs), dict(options)))
    with (
        torch.no_grad(),
        torch.random.fork_rng(_cuda_devices(model)),
        torch.compiler.set_stance("force_eager"),
    ):
        torch.manual_seed(0)
        return [*_tensors(copied(*arguments, **named))]


def _remove_users_hooks(model: nn.Module) -> None:
    for module in model.modules():
        for hooks in (forward_hooks(module), forward_pre_hooks(module)):
            users = [key for key, hook in hooks.items() if not isinstance(hook, _OWN_HOOKS)]
            for key in users:
                del hooks[key]


def _cuda_devices(model: nn.Module) -> list[int]:
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


def _difference(expected: Sequence[Tensor], outputs: Sequence[Tensor]) -> str | None:
    """Describes the difference between outputs, ``None`` if it is rounding."""
    shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in (expected, outputs)]
    if shapes[0] != shapes[1]:
        return f"in shape, {shapes[1]} instead of {shapes[0]}"
    for one, other in zip(expected, outputs, strict=True):
        if not one.numel() or torch.equal(one, other):
            continue
        wide = [
            each.to(torch.complex128 if each.is_complex() else torch.float64)
            for each in (one, other)
        ]
        same = torch.isclose(wide[0], wide[1], rtol=0.0, atol=0.0, equal_nan=True)
        largest = torch.where(same, 0.0, (wide[0] - wide[1]).abs()).max().item()
        scale = max(1.0, wide[0].abs().nan_to_num(posinf=0.0, neginf=0.0).max().item())
        if not largest <= TOLERANCES.get(one.dtype, LOW_PRECISION_TOLERANCE) * scale:
            return f"by {largest:.2g}, where the largest output is {scale:.2g}"
    return None
