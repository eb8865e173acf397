"""The parameters of several modules of one structure as rows of one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from esper_kasmina.stacks.layers import Weights

_ALIGNMENT = 64
"""The length of a row is a multiple of this. Elementwise kernels round differently at the end of a
tensor, so without padding the update of a weight would depend on the number of rows."""


class ParameterRows:
    """Makes the parameters of R modules views of the rows of one matrix.

    Attributes:
        parameters: The parameters of each module.
        values: [R, P], padded with zeros.
        gradients: [R, P]; the layers write into it.
    """

    def __init__(self, parameters: Sequence[Sequence[nn.Parameter]]) -> None:
        """Takes the parameters of each module, in one order and of equal shapes."""
        self.parameters = tuple(tuple(each) for each in parameters)
        first = self.parameters[0]
        self._shapes = [parameter.shape for parameter in first]
        sizes = [parameter.numel() for parameter in first]
        self._bounds = [0, *accumulate(sizes)]
        width = sum(sizes) + -sum(sizes) % _ALIGNMENT
        self.values = first[0].new_zeros(len(self.parameters), width, requires_grad=False)
        self.gradients = torch.zeros_like(self.values)
        for row, group in zip(self.values, self.parameters, strict=True):
            for view, parameter in zip(self._views(row), group, strict=True):
                view.copy_(parameter.detach())
                parameter.data = view
        self._gradient_views = [self._views(row) for row in self.gradients]

    def weights(self) -> list[Weights]:
        """Returns each parameter of all rows, [R, ...]."""
        return [
            Weights(values, gradients)
            for values, gradients in zip(
                self._columns(self.values), self._columns(self.gradients), strict=True
            )
        ]

    def share_gradients(self) -> None:
        """Sets the gradients of the modules' parameters to views of ``gradients``."""
        for views, group in zip(self._gradient_views, self.parameters, strict=True):
            for view, parameter in zip(views, group, strict=True):
                if parameter.requires_grad:
                    parameter.grad = view

    def clear_gradients(self) -> None:
        """Sets the gradients of the modules' parameters to ``None``."""
        for group in self.parameters:
            for parameter in group:
                parameter.grad = None

    def _views(self, row: Tensor) -> list[Tensor]:
        return [
            row[first:last].view(shape)
            for first, last, shape in zip(
                self._bounds, self._bounds[1:], self._shapes, strict=False
            )
        ]

    def _columns(self, rows: Tensor) -> list[Tensor]:
        return [
            rows[:, first:last].view(len(rows), *shape)
            for first, last, shape in zip(
                self._bounds, self._bounds[1:], self._shapes, strict=False
            )
        ]


def stack_statistics(norms: Sequence[nn.Module]) -> tuple[Tensor, Tensor]:
    """Stacks the running mean and variance of norms, [R, C]; those of the norms become views."""
    stacked = []
    for name in ("running_mean", "running_var"):
        rows = torch.stack([getattr(norm, name) for norm in norms])
        for row, norm in zip(rows, norms, strict=True):
            setattr(norm, name, row)
        stacked.append(rows)
    return stacked[0], stacked[1]
