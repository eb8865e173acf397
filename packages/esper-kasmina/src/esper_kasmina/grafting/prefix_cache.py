"""Several passes over the same inputs, of which only what differs is computed.

A model's code cannot be cut at a slot, but its submodules can be told to answer from
memory. The first pass takes down, in order, what each submodule and each slot returned;
a later pass in which a certain slot is the first to differ gives the answers before that
slot again and computes the rest. This holds in evaluation mode, where a submodule's
output follows from its input alone. Answers are copies, because models write into what
their submodules return (``relu_``, ``+=``).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from esper_kasmina.slots.slot import SeedSlot


class Prefix:
    """Runs a model with slots switched off, sharing what comes before the first of them."""

    def __init__(self, model: nn.Module, slots: Mapping[str, SeedSlot]) -> None:
        """Takes the model, and its slots by the name of their submodule."""
        self._model = model
        self._slots = {model.get_submodule(path): slot for path, slot in slots.items()}
        self._inside = _ancestors(model, slots)
        self._answers: list[tuple[nn.Module, Any]] = []
        self._reached: dict[str, int] = {}

    def run(self, off: frozenset[str], *inputs: Any) -> Any:
        """Runs the model with the named slots held at zero; the first run holds none."""
        if not self._reached:
            assert not off, "the first pass is that of the whole model"
            return self._record(inputs)
        known = min((self._reached.get(name, 0) for name in off), default=len(self._answers))
        with ExitStack() as stack:
            stack.enter_context(_replayed(self._answers[:known]))
            for slot in self._slots.values():
                if slot.name in off:
                    stack.enter_context(slot.held_out())
            return self._model(*inputs)

    def _record(self, inputs: tuple[Any, ...]) -> Any:
        """Takes down the answers of all submodules that hold no slot and stand highest."""
        with ExitStack() as stack:
            for module in self._inside:
                for child in module.children():
                    if child not in self._inside:
                        stack.enter_context(_watched(child, self._answers))
            for module, slot in self._slots.items():
                stack.enter_context(_marked(module, slot, self._reached, self._answers))
                stack.enter_context(_watched(slot, self._answers))
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
def _watched(module: nn.Module, answers: list[tuple[nn.Module, Any]]) -> Iterator[None]:
    forward = module.forward

    def watching(*inputs: Any, **options: Any) -> Any:
        output = forward(*inputs, **options)
        answers.append((module, _copied(output)))
        return output

    with _patched(module, watching):
        yield


@contextmanager
def _marked(
    module: nn.Module,
    slot: SeedSlot,
    reached: dict[str, int],
    answers: list[tuple[nn.Module, Any]],
) -> Iterator[None]:
    """Notes how many answers there were when a slot's module was done."""
    forward = module.forward

    def marking(*inputs: Any, **options: Any) -> Any:
        output = forward(*inputs, **options)
        reached[slot.name] = len(answers)
        return output

    with _patched(module, marking):
        yield


@contextmanager
def _replayed(answers: list[tuple[nn.Module, Any]]) -> Iterator[None]:
    """Lets modules give their answers again, in order, and then compute again."""
    queues: dict[nn.Module, list[Any]] = {}
    for module, answer in answers:
        queues.setdefault(module, []).append(answer)
    with ExitStack() as stack:
        for module, queue in queues.items():
            stack.enter_context(_patched(module, _answering(module.forward, iter(queue))))
        yield


def _answering(forward: Any, queue: Iterator[Any]) -> Any:
    nothing = object()

    def answer(*inputs: Any, **options: Any) -> Any:
        known = next(queue, nothing)
        return forward(*inputs, **options) if known is nothing else _copied(known)

    return answer


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
