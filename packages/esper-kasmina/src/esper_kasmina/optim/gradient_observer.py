"""Gradients as an optimizer's steps use them, seen while a loop trains."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from esper_kasmina.checks import check_model
from esper_kasmina.optim.groups import check_optimizer, parameter_groups, seed_slots, slots_by_name
from esper_kasmina.optim.wrappers import unwrap_optimizer
from esper_kasmina.slots.gradients import GradientMeasurement, gradient_norms, measurement_of
from esper_kasmina.slots.slot import SeedSlot


class GradientObserver:
    """Measures gradients at every step of an optimizer, before the loop clears them.

    It is a context manager around the training of one epoch. When it ends, each slot with a
    seed has the gradients of the epoch's last step on record, as ``record_gradients`` would
    have measured them, whether the loop calls ``zero_grad`` before ``backward`` or after
    ``step``. They are those of the step: accumulated, reduced over ranks, clipped, and
    unscaled where a ``GradScaler`` steps. A step that the scaler skips does not count. Where
    no step was made, the gradients that stand at the end are measured. Norms stay on the
    device until the epoch ends.

    Attributes:
        missing: Once it has ended, the slots with a trainable seed that no gradient reached.
    """

    def __init__(
        self, optimizer: Optimizer, model: nn.Module, slots: Iterable[SeedSlot] | None = None
    ) -> None:
        """Takes what is trained.

        Args:
            optimizer: What the loop steps, or a wrapper that holds it as ``optimizer``.
            model: The model.
            slots: The slots to measure, all of the model's by default.

        Raises:
            KasminaError: If one of them is something else.
        """
        self._optimizer: Any = unwrap_optimizer(optimizer)
        check_optimizer(self._optimizer)
        check_model(model)
        self._model = model
        chosen = seed_slots(model) if slots is None else tuple(slots)
        self._slots = tuple(s for s in slots_by_name(chosen).values() if s.seed is not None)
        self.missing: tuple[str, ...] = ()

    def __enter__(self) -> GradientObserver:
        """Starts to observe."""
        self._groups: dict[str | None, list[Parameter]] = {
            None: parameter_groups(self._model)[0]["params"],
            **{slot.name: _parameters(slot) for slot in self._slots},
        }
        self._steps: dict[str | None, tuple[Tensor | None, ...]] = {}
        self._reached: set[str] = set()
        self._handles = [
            parameter.register_post_accumulate_grad_hook(_Reached(self._reached, slot.name))
            for slot in self._slots
            for parameter in self._groups[slot.name]
            if parameter.requires_grad
        ]
        register = getattr(self._optimizer, "register_step_post_hook", None)
        if register is not None:
            self._handles.append(register(self._record_step))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Records what was observed, if the epoch ended well."""
        for handle in self._handles:
            handle.remove()
        if kind is None:
            self._record()

    @torch.no_grad()
    def _record_step(self, *_: Any) -> None:
        for name, parameters in self._groups.items():
            norms = gradient_norms(parameters)
            # A step of other parameters leaves what was seen of these.
            if any(norm is not None for norm in norms):
                self._steps[name] = norms

    def _record(self) -> None:
        host = self._measured(None)
        missing = []
        for slot in self._slots:
            measured = self._measured(slot.name)
            slot.take_gradients(measured, host)
            trainable = any(p.requires_grad for p in self._groups[slot.name])
            if measured is None and slot.name not in self._reached and trainable:
                missing.append(slot.name)
        self.missing = tuple(missing)

    def _measured(self, name: str | None) -> GradientMeasurement | None:
        parameters = self._groups[name]
        seen = self._steps.get(name)
        return measurement_of(parameters, gradient_norms(parameters) if seen is None else seen)


class _Reached:
    """Notes that a backward pass reached a slot's seed."""

    def __init__(self, reached: set[str], slot: str) -> None:
        self._reached = reached
        self._slot = slot

    def __call__(self, _parameter: Tensor) -> None:
        self._reached.add(self._slot)


def _parameters(slot: SeedSlot) -> list[Parameter]:
    assert slot.seed is not None
    return list(slot.seed.parameters())
