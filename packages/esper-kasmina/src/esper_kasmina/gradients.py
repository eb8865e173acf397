"""What the gradients of a group of parameters look like after a backward pass."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch.nn import Parameter

VANISHING_NORM = 1e-7
"""Below this L2 norm a gradient counts as vanished."""

EXPLODING_NORM = 1e3
"""Above this L2 norm, or without a finite one, a gradient counts as exploding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientMeasurement:
    """The gradients of one group of parameters.

    Attributes:
        norm: L2 norm over the whole group.
        per_root: That norm over the square root of the number of parameters, so that
            groups of different sizes compare.
        finite: Whether every gradient is finite.
        vanishing: Whether the norm is below ``VANISHING_NORM``.
        exploding: Whether the norm is above ``EXPLODING_NORM`` or not finite.
        health: Share of parameter tensors whose gradient is finite and has not vanished.
        parameters_finite: Whether every parameter is finite.
    """

    norm: float
    per_root: float
    finite: bool
    vanishing: bool
    exploding: bool
    health: float
    parameters_finite: bool

    @property
    def ordinary(self) -> bool:
        """Whether parameters and gradients are finite and neither tiny nor huge."""
        return self.finite and self.parameters_finite and not (self.vanishing or self.exploding)


def measure_gradients(parameters: Iterable[Parameter]) -> GradientMeasurement | None:
    """Measures gradients where they stand; ``None`` if there are none at all.

    A parameter without a gradient among others that have one counts as vanished.
    """
    group = list(parameters)
    gradients = [p.grad.detach() for p in group if p.grad is not None]
    if not gradients:
        return None
    tensors = gradients + [p.detach() for p in group]
    norms = torch.stack([tensor.float().norm() for tensor in tensors]).tolist()
    sizes, weights = norms[: len(gradients)], norms[len(gradients) :]
    norm = math.hypot(*sizes)
    count = sum(p.numel() for p in group)
    return GradientMeasurement(
        norm=norm,
        per_root=norm / math.sqrt(count),
        finite=all(map(math.isfinite, sizes)),
        vanishing=norm < VANISHING_NORM,
        exploding=not norm <= EXPLODING_NORM,
        health=sum(math.isfinite(s) and s >= VANISHING_NORM for s in sizes) / len(group),
        parameters_finite=all(map(math.isfinite, weights)),
    )
