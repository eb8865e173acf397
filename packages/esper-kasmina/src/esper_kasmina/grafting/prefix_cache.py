"""Runs a model several times on the same inputs and computes a shared prefix only once.

The first pass records what each submodule and each slot returns, in order. A later pass, in
which some slots are off, returns the recorded outputs up to the first of these slots and computes
the rest. This is correct in evaluation mode, where a submodule's output depends on its input alone.
Outputs are copied, because models may modify them in place (``relu_``, ``+=``).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from esper_kasmina.slots.slot import SeedSlot

RecordedOutput = tuple[nn.Module, Any]


class PrefixCache:
    """Runs a model with some slots off, and computes what precedes the first of them once."""

    def __init__(self, model: nn.Module, slots: Mapping[str, SeedSlot]) -> None:
        """Takes the model, and its slots by the name of their submodule."""
        self._model = model
        self._slots = {model.get_submodule(path): slot for path, slot in slots.items()}
        self._ancestors = _ancestors(model, slots)
        self._outputs: list[RecordedOutput] = []
        self._outputs_before: dict[str, int] = {}  # how many outputs precede each slot

    def run(self, off: frozenset[str], *inputs: Any) -> Any:
        """Runs the model with the named slots held at zero; in the first run none is off."""
        if not self._outputs_before:
            assert not off, "the first pass runs the whole model"
            return self._run_and_record(inputs)
        positions = (self._outputs_before.get(name, 0) for name in off)
        known = min(positions, default=len(self._outputs))
        with ExitStack() as stack:
            stack.enter_context(_replay_outputs(self._outputs[:known]))
            for slot in self._slots.values():
                if slot.name in off:
                    stack.enter_context(slot.held_out())
            return self._model(*inputs)

    def _run_and_record(self, inputs: tuple[Any, ...]) -> Any:
        """Runs the model and records the outputs of the largest submodules without slots."""
        with ExitStack() as stack:
            for module in self._ancestors:
                for child in module.children():
                    if child not in self._ancestors:
                        stack.enter_context(_record_outputs(child, self._outputs))
            for module, slot in self._slots.items():
                stack.enter_context(
                    _record_position(module, slot, self._outputs_before, self._outputs)
                )
                stack.enter_context(_record_outputs(slot, self._outputs))
            return self._model(*inputs)


def _ancestors(model: nn.Module, paths: Mapping[str, SeedSlot]) -> set[nn.Module]:
    """Returns the model and the modules that contain a module with a slot."""
    ancestors = {model}
    for path in paths:
        parts = path.split(".")[:-1]
        ancestors |= {
            model.get_submodule(".".join(parts[:end])) for end in range(1, len(parts) + 1)
        }
    return ancestors


@contextmanager
def _replaced_forward(module: nn.Module, forward: Any) -> Iterator[None]:
    """Replaces a module's ``forward`` in the block; its hooks still run."""
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
def _record_outputs(module: nn.Module, outputs: list[RecordedOutput]) -> Iterator[None]:
    """Appends what a module returns to ``outputs``."""
    forward = module.forward

    def record(*inputs: Any, **options: Any) -> Any:
        output = forward(*inputs, **options)
        outputs.append((module, _copy_tensors(output)))
        return output

    with _replaced_forward(module, record):
        yield


@contextmanager
def _record_position(
    module: nn.Module,
    slot: SeedSlot,
    outputs_before: dict[str, int],
    outputs: list[RecordedOutput],
) -> Iterator[None]:
    """Records how many outputs precede a slot: those recorded when its module returns."""
    forward = module.forward

    def record(*inputs: Any, **options: Any) -> Any:
        output = forward(*inputs, **options)
        outputs_before[slot.name] = len(outputs)
        return output

    with _replaced_forward(module, record):
        yield


@contextmanager
def _replay_outputs(outputs: list[RecordedOutput]) -> Iterator[None]:
    """Lets modules return these outputs in order; after the last one they compute again."""
    queues: dict[nn.Module, list[Any]] = {}
    for module, output in outputs:
        queues.setdefault(module, []).append(output)
    with ExitStack() as stack:
        for module, queue in queues.items():
            replay = _replay(module.forward, iter(queue))
            stack.enter_context(_replaced_forward(module, replay))
        yield


def _replay(forward: Any, queue: Iterator[Any]) -> Any:
    """Returns a ``forward`` that returns the outputs in a queue, and then calls another."""
    end = object()

    def replay(*inputs: Any, **options: Any) -> Any:
        output = next(queue, end)
        return forward(*inputs, **options) if output is end else _copy_tensors(output)

    return replay


def _copy_tensors(value: Any) -> Any:
    """Returns a copy of a structure and of every tensor in it; types stay the same."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        copied = copy.copy(value)
        for key, each in value.items():
            copied[key] = _copy_tensors(each)
        return copied
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_copy_tensors, value))
    if isinstance(value, tuple | list):
        return type(value)(map(_copy_tensors, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        copies = {name: _copy_tensors(getattr(value, name)) for name in names}
        return dataclasses.replace(value, **copies)
    return value
