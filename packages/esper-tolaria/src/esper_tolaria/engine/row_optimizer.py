"""The optimizer of a stack: clips and updates the rows of all hosts, or of all seeds, at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from esper_leyline import HostTraining
from esper_leyline.ports import StackedRow
from esper_tolaria._torch import adamw, divide_each, norm_of_each, sgd

_State = dict[str, Tensor]


class RowOptimizer:
    """AdamW or SGD with momentum for rows of parameters, each clipped to its own norm.

    It computes the same as ``ClippedAdamW`` and ``ClippedSGD`` with one parameter group for each
    row. The state of a row follows its first parameter, so rows may come, go and change places.
    """

    def __init__(self, training: HostTraining, options: Mapping[str, float]) -> None:
        """Takes the host's settings, and the ``lr`` and ``max_norm`` of the rows."""
        self._training = training
        self._lr, self._max_norm = options["lr"], options["max_norm"]
        self._state: dict[Parameter, _State] = {}
        self._rows: tuple[StackedRow, ...] = ()

    def set_rows(self, rows: Sequence[StackedRow]) -> None:
        """Sets what is trained from now on."""
        self._rows = tuple(rows)
        self._state = {row.parameters[0]: self._state_of(row) for row in rows}

    @torch.no_grad()
    def step(self) -> None:
        """Clips the gradients and updates the values."""
        if not self._rows:
            return
        values = [row.values for row in self._rows]
        gradients = [row.gradients for row in self._rows]
        states = list(self._state.values())
        norms = torch.stack(norm_of_each(gradients))
        divisors = (norms / self._max_norm).clamp_(min=1.0)
        divide_each(gradients, list(divisors.unbind()))
        training = self._training
        if training.optimizer == "adamw":
            adamw(
                values,
                gradients,
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=True,
                grad_scale=None,
                found_inf=None,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=self._lr,
                weight_decay=training.weight_decay,
                eps=1e-8,
                maximize=False,
            )
        else:
            sgd(
                values,
                gradients,
                [state["momentum_buffer"] for state in states],
                fused=True,
                grad_scale=None,
                found_inf=None,
                weight_decay=training.weight_decay,
                momentum=training.momentum,
                lr=self._lr,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )

    def _state_of(self, row: StackedRow) -> _State:
        """Returns a row's state; parameters that a retarget added to a seed start at zero."""
        known = self._state.get(row.parameters[0], {})
        names = (
            ("exp_avg", "exp_avg_sq")
            if self._training.optimizer == "adamw"
            else ("momentum_buffer",)
        )
        state = {name: torch.zeros_like(row.values) for name in names}
        for name, fresh in state.items():
            if name in known:
                kept = min(len(fresh), len(known[name]))
                fresh[:kept] = known[name][:kept]
        if self._training.optimizer == "adamw":
            state["step"] = known.get("step", torch.zeros((), device=row.values.device))
        return state
