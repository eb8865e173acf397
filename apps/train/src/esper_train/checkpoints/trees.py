"""Nested states as JSON and named tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from esper_leyline import show_text
from esper_train.errors import TrainError

_TENSOR = "tensor"
"""The only key of the object that stands for a tensor; its value is the tensor's name."""


def split_tensors(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Separates the tensors of a state from the rest.

    Args:
        state: Dicts, lists, numbers, texts and tensors.

    Returns:
        The state with ``{"tensor": name}`` in place of each tensor, and the tensors by name: the
        keys and indices that lead to it, with dots between.
    """
    tensors: dict[str, Tensor] = {}

    def split(value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            tensors[name] = value.contiguous()
            return {_TENSOR: name}
        if isinstance(value, Mapping):
            return {
                key: split(each, f"{name}.{key}" if name else key) for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [split(each, f"{name}.{index}") for index, each in enumerate(value)]
        return value

    return split(state, ""), tensors


def join_tensors(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Reverses ``split_tensors``.

    Raises:
        TrainError: If the tree names a tensor that is not there, or does not name one that is.
    """
    named: set[str] = set()

    def join(value: Any) -> Any:
        if isinstance(value, dict):
            name = value.get(_TENSOR) if len(value) == 1 else None
            if isinstance(name, str):
                named.add(name)
                return _find(name, tensors)
            return {key: join(each) for key, each in value.items()}
        return [join(each) for each in value] if isinstance(value, list) else value

    joined = join(tree)
    if extra := tensors.keys() - named:
        raise TrainError(
            f"cannot be used: its state does not name its tensor '{show_text(min(extra))}'"
        )
    return joined


def _find(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    if name not in tensors:
        raise TrainError(f"cannot be used: its tensor '{show_text(name)}' is missing")
    return tensors[name]
