"""Measures the gradients of seeds during a training loop."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from esper_kasmina.checks import check_model
from esper_kasmina.optim.checks import check_optimizer
from esper_kasmina.optim.groups import parameter_groups
from esper_kasmina.optim.wrappers import unwrap_optimizer
from esper_kasmina.slots.gradients import GradientMeasurement, gradient_norms, measure_norms
from esper_kasmina.slots.lookup import seed_slots, slots_by_name
from esper_kasmina.slots.slot import SeedSlot


class GradientObserver:
    """Measures gradients at every step of an optimizer, before the loop clears them.

    It is a context manager for the training of one epoch. At its end, the gradients of the last
    step are stored in each slot with a seed, as by ``record_gradients``. It does not matter whether
    the loop calls ``zero_grad`` before ``backward`` or after ``step``. The gradients are those that
    the step used: accumulated, averaged over ranks, clipped, and unscaled by a ``GradScaler``.
    Steps that the scaler skips are ignored. If there was no step, the gradients at the end are
    measured. Norms stay on the device until the epoch ends.

    Attributes:
        missing: At the end, the slots with a trainable seed that no gradient reached.
        no_step: At the end, whether the optimizer made no step although every gradient that
            reached a seed was finite. (A ``GradScaler`` skips the step if one is not.)
    """

    def __init__(
        self, optimizer: Optimizer, model: nn.Module, slots: Iterable[SeedSlot] | None = None
    ) -> None:
        """Checks the arguments.

        Args:
            optimizer: The optimizer, or a wrapper that holds it as ``optimizer``.
            model: The model.
            slots: The slots to measure; ``None`` takes all slots of the model.

        Raises:
            KasminaError: If one of them has the wrong type.
        """
        self._optimizer: Any = unwrap_optimizer(optimizer)
        check_optimizer(self._optimizer)
        check_model(model)
        self._model = model
        chosen = seed_slots(model) if slots is None else tuple(slots)
        self._slots = tuple(s for s in slots_by_name(chosen).values() if s.seed is not None)
        self.missing: tuple[str, ...] = ()
        self.no_step = False

    def __enter__(self) -> GradientObserver:
        """Registers hooks on the optimizer and on the parameters of seeds."""
        self._groups: dict[str | None, list[Parameter]] = {
            None: parameter_groups(self._model)[0]["params"],
            **{slot.name: _parameters(slot) for slot in self._slots},
        }
        self._steps: dict[str | None, tuple[Tensor | None, ...]] = {}
        self._received = {slot.name: _ReceivedGradients() for slot in self._slots}
        self._stepped = False
        self._handles = [
            parameter.register_post_accumulate_grad_hook(self._received[slot.name])
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
        """Removes the hooks, and stores the measurements unless there was an error."""
        for handle in self._handles:
            handle.remove()
        if kind is None:
            self._record()

    @torch.no_grad()
    def _record_step(self, *_: Any) -> None:
        self._stepped = True
        for name, parameters in self._groups.items():
            norms = gradient_norms(parameters)
            # Not if the step was of other parameters only.
            if any(norm is not None for norm in norms):
                self._steps[name] = norms

    def _record(self) -> None:
        host = self._measured(None)
        missing = []
        for slot in self._slots:
            measured = self._measured(slot.name)
            slot.store_gradients(measured, host)
            trainable = any(p.requires_grad for p in self._groups[slot.name])
            if measured is None and not self._received[slot.name].count and trainable:
                missing.append(slot.name)
        self.missing = tuple(missing)
        self.no_step = self._has_hook and not self._stepped and self._all_finite()

    def _all_finite(self) -> bool:
        """Whether gradients reached seeds, and all of them were finite."""
        received = [each for each in self._received.values() if each.count]
        return bool(received) and all(bool(each.finite) for each in received)

    def _measured(self, name: str | None) -> GradientMeasurement | None:
        parameters = self._groups[name]
        norms = self._steps.get(name)
        return measure_norms(parameters, gradient_norms(parameters) if norms is None else norms)


class _ReceivedGradients:
    """Hook on parameters: counts gradients, and checks whether all of them are finite."""

    def __init__(self) -> None:
        self.count = 0
        self.finite: Tensor | bool = True

    def __call__(self, parameter: Tensor) -> None:
        self.count += 1
        assert parameter.grad is not None
        # A tensor, because a bool would wait for the device.
        self.finite = parameter.grad.detach().isfinite().all() & self.finite


def _parameters(slot: SeedSlot) -> list[Parameter]:
    assert slot.seed is not None
    return list(slot.seed.parameters())
