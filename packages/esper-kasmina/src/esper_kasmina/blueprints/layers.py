"""Convolutions and norms over one or two spatial dimensions."""

from __future__ import annotations

from torch import nn

from esper_kasmina.blueprints.signals import SignalConvolution, SignalNorm
from esper_kasmina.errors import KasminaError

BRANCH_EPS = 1e-3
"""Added to a branch's variances: a norm of a near-constant signal multiplies gradients by
1/sqrt(eps), 32 here and 316 with torch's own 1e-5."""

_CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d]] = {1: SignalConvolution, 2: nn.Conv2d}
_NORMS: dict[int, type[nn.BatchNorm1d] | type[nn.BatchNorm2d]] = {
    1: SignalNorm,
    2: nn.BatchNorm2d,
}


def check_dimensions(dimensions: int) -> int:
    """Returns the number of spatial dimensions.

    Raises:
        KasminaError: If there is no convolution for that many.
    """
    if dimensions not in _CONVOLUTIONS:
        raise KasminaError(
            f"{dimensions} spatial dimensions are not supported; use 1 for signals or 2 for images"
        )
    return dimensions


def convolution(
    channels: int, outputs: int, *, kernel: int, dimensions: int, groups: int = 1
) -> nn.Conv1d | nn.Conv2d:
    """Builds a convolution without bias; odd kernels keep the spatial size."""
    return _CONVOLUTIONS[dimensions](
        channels, outputs, kernel, padding=kernel // 2, groups=groups, bias=False
    )


def batch_norm(
    channels: int, *, dimensions: int, eps: float = 1e-5
) -> nn.BatchNorm1d | nn.BatchNorm2d:
    """Builds a batch norm with learnable scale and shift."""
    return _NORMS[dimensions](channels, eps=eps)


def branch_norm(channels: int, *, dimensions: int) -> nn.Module:
    """Builds the norm that a seed's branch ends with."""
    return batch_norm(channels, dimensions=dimensions, eps=BRANCH_EPS)


def branch_activation() -> nn.Module:
    """Builds the activation that a seed's branch ends with.

    Both signs pass, so that one scale can add to some channels and take from others.
    """
    return nn.LeakyReLU(0.2)
