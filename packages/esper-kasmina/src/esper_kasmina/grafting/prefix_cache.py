"""Runs a model several times on the same inputs and computes a shared prefix only once.

The first pass records, in order, what each submodule and each slot returns. A later pass in
which some slots are off replays the recorded outputs up to the first of these slots and computes
the rest. This holds in evaluation mode, where a submodule's output follows from its input alone.
Outputs are copied, because models write into what their submodules return (``relu_``, ``+=``).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from esper_kasmina.slots.slot import SeedSlot


class PrefixCache:
    """Runs a model with slots switched off, sharing what comes before the first of them."""

    def __init__(self, model: nn.Module, slots: Mapping[str, SeedSlot]) -> None:
        """Takes the model, and its slots by the name of their submodule."""
        self._model = model
        self._slots = {model.get_submodule(path): slot for path, slot in slots.items()}
        self._inside = _ancestors(model, slots)
        self._outputs: list[tuple[nn.Module, Any]] = []
        self._reached: dict[str, int] = {}

    def run(self, off: frozenset[str], *inputs: Any) -> Any:
        """Runs the model with the named slots held at zero; the first run holds none."""
        if not self._reached:
            assert not off, "the first pass is that of the whole model"
            return self._run_recorded(inputs)
        known = min((self._reached.get(name, 0) for name in off), default=len(self._outputs))
        with ExitStack() as stack:
            stack.enter_context(_replay_outputs(self._outputs[:known]))
            for slot in self._slots.values():
                if slot.name in off:
                    stack.enter_context(slot.held_out())
            return self._model(*inputs)

    def _run_recorded(self, inputs: tuple[Any, ...]) -> Any:
        """Runs the model and records the outputs of the outermost submodules without slots."""
        with ExitStack() as stack:
            for module in self._inside:
                for child in module.children():
                    if child not in self._inside:
                        stack.enter_context(_record_outputs(child, self._outputs))
            for module, slot in self._slots.items():
                stack.enter_context(_record_position(module, slot, self._reached, self._outputs))
                stack.enter_context(_record_outputs(slot, self._outputs))
            return self._model(*inputs)


def _ancestors(model: nn.Module, slots: Mapping[str, SeedSlot]) -> set[nn.Module]:
    """Returns the modules in which a slot's module lies, the model among them."""
    inside = {model}
    for path in slots:
        parts = path.split(".")[:-1]
        inside |= {model.get_submodule(".".join(parts[:end])) for end in range(1, len(parts) + 1)}
    return inside


@contextmanager
def _patched(module: nn.Module, forward: Any) -> Iterator[None]:
    """Replaces a module's forward for a while; hooks still run around it."""
    own = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.__dict__["forward"]
        else:
            module.forward = own


@contextmanager
def _record_outputs(module: nn.Module, outputs: list[tuple[nn.Module, Any]]) -> Iterator[None]:
    forward = module.forward

    def recording(*inputs: Any, **options: Any) -> Any:
        output = forward(*inputs, **options)
        outputs.append((module, _copied(output)))
        return output

    with _patched(module, recording):
        yield


@contextmanager
def _record_position(
    module: nn.Module,
    slot: SeedSlot,
    reached: dict[str, int],
    outputs: list[tuple[nn.Module, Any]],
) -> Iterator[None]:
    """Records how many outputs precede a slot: those recorded when its module returns."""
    forward = module.forward

    def recording(*inputs: Any, **options: Any) -> Any:
        output = forward(*inputs, **options)
        reached[slot.name] = len(outputs)
        return output

    with _patched(module, recording):
        yield


@contextmanager
def _replay_outputs(outputs: list[tuple[nn.Module, Any]]) -> Iterator[None]:
    """Modules return these outputs, in order, and compute again after the last."""
    queues: dict[nn.Module, list[Any]] = {}
    for module, output in outputs:
        queues.setdefault(module, []).append(output)
    with ExitStack() as stack:
        for module, queue in queues.items():
            stack.enter_context(_patched(module, _replaying(module.forward, iter(queue))))
        yield


def _replaying(forward: Any, queue: Iterator[Any]) -> Any:
    nothing = object()

    def replaying(*inputs: Any, **options: Any) -> Any:
        known = next(queue, nothing)
        return forward(*inputs, **options) if known is nothing else _copied(known)

    return replaying


def _copied(value: Any) -> Any:
    """Copies every tensor in a structure; the structure keeps its type."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        copied = copy.copy(value)
        for key, each in value.items():
            copied[key] = _copied(each)
        return copied
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_copied, value))
    if isinstance(value, tuple | list):
        return type(value)(map(_copied, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(value, **{each: _copied(getattr(value, each)) for each in names})
    return value
