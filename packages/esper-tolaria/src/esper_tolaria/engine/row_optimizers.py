"""Optimizers of a stack's weights [R, P]: each row is one host and is clipped separately."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from esper_leyline import HostTraining
from esper_tolaria.engine.optimizers import ClippedAdamW, ClippedOptimizer, ClippedSGD


class _ByRow(ClippedOptimizer):
    """Clips each row of its parameter by the row's norm."""

    def _excess(self, gradients: list[Tensor], max_norm: float) -> Tensor:
        (gradient,) = gradients
        norms = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        gradient.div_((norms / max_norm).clamp(min=1.0))
        return torch.ones((), device=gradient.device)

    def take_rows(self, other: ClippedOptimizer, rows: Sequence[int]) -> None:
        """Copies the state of some rows of another optimizer."""
        (mine,), (theirs,) = (each.param_groups[0]["params"] for each in (self, other))
        for name, value in other.state[theirs].items():
            if value.dim() == 0:
                self.state[mine][name] = value.clone()
                continue
            kept = torch.zeros_like(mine)
            kept[: len(rows)] = value[list(rows)]
            self.state[mine][name] = kept


class RowSGD(_ByRow, ClippedSGD):
    """Stochastic gradient descent with momentum, row by row."""


class RowAdamW(_ByRow, ClippedAdamW):
    """AdamW, row by row."""


def build_row_optimizer(weights: Parameter, training: HostTraining) -> RowSGD | RowAdamW:
    """Builds the optimizer of a task's hosts for all rows of ``weights``."""
    kind = RowAdamW if training.optimizer == "adamw" else RowSGD
    return kind([weights], training)
