"""Measures the gradients of a group of parameters after a backward pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from esper_kasmina.checks import shown
from esper_kasmina.errors import KasminaError

VANISHING_NORM = 1e-7
"""A gradient with a smaller L2 norm counts as vanished."""

EXPLODING_NORM = 1e3
"""A gradient with a larger L2 norm, or one that is not finite, counts as exploding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientMeasurement:
    """Norm and health of the gradients of one group of parameters.

    Attributes:
        norm: L2 norm over the whole group.
        per_root: ``norm`` divided by the square root of the number of parameters, so that groups
            of different sizes can be compared.
        health: Share of parameter tensors whose gradient is finite and has not vanished.
        parameters_finite: Whether every parameter is finite.
    """

    norm: float
    per_root: float
    health: float
    parameters_finite: bool

    @property
    def finite(self) -> bool:
        """Whether every gradient is finite."""
        return math.isfinite(self.norm)

    @property
    def vanishing(self) -> bool:
        """Whether the norm is below ``VANISHING_NORM``."""
        return self.norm < VANISHING_NORM

    @property
    def exploding(self) -> bool:
        """Whether the norm is above ``EXPLODING_NORM`` or not finite."""
        return not self.norm <= EXPLODING_NORM

    @property
    def ordinary(self) -> bool:
        """Whether parameters and gradients are finite and neither tiny nor huge."""
        return self.finite and self.parameters_finite and not (self.vanishing or self.exploding)


def measure_gradients(parameters: Iterable[Parameter]) -> GradientMeasurement | None:
    """Measures the gradients that parameters have now. Returns ``None`` if none has a gradient.

    A parameter without a gradient counts as vanished if another parameter of the group has one.

    Args:
        parameters: Parameters of any shape.

    Raises:
        KasminaError: If they are not parameters.
    """
    group = list(parameters) if isinstance(parameters, Iterable) else [parameters]
    if not all(isinstance(each, Tensor) for each in group):
        raise KasminaError(
            f"the parameters are {shown(parameters)}; give parameters, such as model.parameters()"
        )
    return measure_norms(group, gradient_norms(group))


def gradient_norms(parameters: Iterable[Parameter]) -> tuple[Tensor | None, ...]:
    """Returns the L2 norm [] of each parameter's gradient, on its device; ``None`` without one."""
    return tuple(None if p.grad is None else _norm(p.grad) for p in parameters)


def measure_norms(
    group: Sequence[Parameter], gradients: Sequence[Tensor | None]
) -> GradientMeasurement | None:
    """Combines the norms of a group's gradients; ``None`` if there are none.

    Args:
        group: The parameters.
        gradients: What ``gradient_norms`` returned for them.
    """
    present = [norm for norm in gradients if norm is not None]
    if not present:
        return None
    both = torch.stack([_full(norm) for norm in (*present, *map(_norm, group))]).tolist()
    norms, parameter_norms = both[: len(present)], both[len(present) :]
    norm = math.hypot(*norms)  # sqrt(sum of squared norms)
    count = sum(p.numel() for p in group)
    return GradientMeasurement(
        norm=norm,
        per_root=norm / math.sqrt(count),
        health=sum(math.isfinite(n) and n >= VANISHING_NORM for n in norms) / len(group),
        parameters_finite=all(map(math.isfinite, parameter_norms)),
    )


def _norm(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    values: Tensor = tensor.coalesce().values() if tensor.is_sparse else tensor
    norm: Tensor = values.float().norm()
    return norm


def _full(norm: Tensor) -> Tensor:
    """Returns the norm over all ranks if the tensor is sharded (``DTensor``)."""
    full = getattr(norm, "full_tensor", None)
    return norm if full is None else full()
