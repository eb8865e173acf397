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
from esper_kasmina.slots.gradients import GradientMeasurement, gradient_norms, measure_norms
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
        unused: Once it has ended, whether the optimizer made no step although every gradient
            that reached a seed was finite; a ``GradScaler`` skips steps of others.
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
        self.unused = False

    def __enter__(self) -> GradientObserver:
        """Starts to observe."""
        self._groups: dict[str | None, list[Parameter]] = {
            None: parameter_groups(self._model)[0]["params"],
            **{slot.name: _parameters(slot) for slot in self._slots},
        }
        self._steps: dict[str | None, tuple[Tensor | None, ...]] = {}
        self._reached = {slot.name: _Reached() for slot in self._slots}
        self._stepped = False
        self._handles = [
            parameter.register_post_accumulate_grad_hook(self._reached[slot.name])
            for slot in self._slots
            for parameter in self._groups[slot.name]
            if parameter.requires_grad
        ]
        register = getattr(self._optimizer, "register_step_post_hook", None)
        self._has_hook = register is not None
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
        self._stepped = True
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
            slot.store_gradients(measured, host)
            trainable = any(p.requires_grad for p in self._groups[slot.name])
            if measured is None and not self._reached[slot.name].passes and trainable:
                missing.append(slot.name)
        self.missing = tuple(missing)
        self.unused = self._has_hook and not self._stepped and self._all_finite()

    def _all_finite(self) -> bool:
        """Whether gradients reached seeds, and all of them were finite."""
        reached = [each for each in self._reached.values() if each.passes]
        return bool(reached) and all(bool(each.finite) for each in reached)

    def _measured(self, name: str | None) -> GradientMeasurement | None:
        parameters = self._groups[name]
        seen = self._steps.get(name)
        return measure_norms(parameters, gradient_norms(parameters) if seen is None else seen)


class _Reached:
    """Counts the gradients that reach a seed, and whether all of them are finite."""

    def __init__(self) -> None:
        self.passes = 0
        self.finite: Tensor | bool = True

    def __call__(self, parameter: Tensor) -> None:
        self.passes += 1
        assert parameter.grad is not None
        # Stays a tensor, because reading it would wait for the device.
        self.finite = parameter.grad.detach().isfinite().all() & self.finite


def _parameters(slot: SeedSlot) -> list[Parameter]:
    assert slot.seed is not None
    return list(slot.seed.parameters())
