"""The optimizer of a stack: clips and updates the rows of all hosts, or of all seeds, at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import Parameter

from esper_leyline import HostTraining
from esper_leyline.ports import StackedRow
from esper_tolaria._torch import divide_each, norm_of_each
from esper_tolaria.engine.updates import State, adamw_state, sgd_state, update_adamw, update_sgd


class RowOptimizer:
    """AdamW or SGD with momentum for rows of parameters, each clipped to its own norm.

    It computes the same as ``ClippedAdamW`` and ``ClippedSGD`` with one parameter group for each
    row. The state of a row follows its first parameter, so rows may come, go and change places.
    """

    def __init__(self, training: HostTraining, options: Mapping[str, float]) -> None:
        """Takes the host's settings, and the ``lr`` and ``max_norm`` of the rows."""
        adamw = training.optimizer == "adamw"
        self._update = update_adamw if adamw else update_sgd
        self._fresh_state = adamw_state if adamw else sgd_state
        self._options = {
            "weight_decay": training.weight_decay,
            "momentum": training.momentum,
            **options,
        }
        self._state: dict[Parameter, State] = {}
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
        norms = torch.stack(norm_of_each(gradients))
        divisors = (norms / self._options["max_norm"]).clamp_(min=1.0)
        divide_each(gradients, list(divisors.unbind()))
        self._update(values, gradients, list(self._state.values()), self._options)

    def _state_of(self, row: StackedRow) -> State:
        """Returns a row's state; parameters that a retarget added to a seed start at zero."""
        state = self._fresh_state(row.values)
        for name, known in self._state.get(row.parameters[0], {}).items():
            if known.dim() == 0:
                state[name] = known  # the number of steps
            else:
                kept = min(len(known), len(state[name]))
                state[name][:kept] = known[:kept]
        return state
