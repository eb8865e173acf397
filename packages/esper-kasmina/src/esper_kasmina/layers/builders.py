"""Builds the layers of hosts and branches."""

from __future__ import annotations

from torch import Tensor, nn

from esper_kasmina.layers.branch_norms import BranchNorm1d, BranchNorm2d, BranchNorm3d
from esper_kasmina.layers.signals import SignalConvolution, SignalNorm

BRANCH_EPS = 1e-3
"""Epsilon of the norms in branches. A norm of nearly constant activations multiplies gradients by
1 / sqrt(eps): 32 with this value, and 316 with torch's default of 1e-5."""

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d

_CONVOLUTIONS: dict[int, type[Convolution]] = {1: SignalConvolution, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: dict[int, type[BatchNorm]] = {1: SignalNorm, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_BRANCH_NORMS: dict[int, type[BatchNorm]] = {1: BranchNorm1d, 2: BranchNorm2d, 3: BranchNorm3d}


class ChannelsLast(nn.Module):
    """Runs a module for maps with the channels second on maps with the channels last.

    Attributes:
        inner: The module.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: Tensor) -> Tensor:
        """Takes and returns [B, ..., C]."""
        output: Tensor = self.inner(hidden.movedim(-1, 1))
        return output.movedim(1, -1)


def convolution(
    channels: int,
    outputs: int,
    *,
    kernel: int,
    dimensions: int,
    groups: int = 1,
    bias: bool = False,
) -> Convolution:
    """Builds a convolution; with an odd kernel size the spatial size stays the same."""
    return _CONVOLUTIONS[dimensions](
        channels, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias
    )


def batch_norm(channels: int, *, dimensions: int) -> BatchNorm:
    """Builds a batch norm with learnable scale and shift."""
    return _NORMS[dimensions](channels)


def branch_norm(channels: int, *, dimensions: int) -> nn.Module:
    """Builds the norm that a seed's branch ends with."""
    return _BRANCH_NORMS[dimensions](channels, eps=BRANCH_EPS)


def branch_activation() -> nn.Module:
    """Builds the activation that a seed's branch ends with.

    A leaky ReLU has outputs of both signs, so that a seed can both add and subtract.
    """
    return nn.LeakyReLU(0.2)


def stream_norm(width: int) -> nn.Module:
    """Builds the norm at the start of a branch for tokens or vectors; it has no parameters.

    Activations of a residual network grow from layer to layer, so modules of a pre-norm network
    normalise their input (Xiong et al. 2020).
    """
    return nn.LayerNorm(width, eps=BRANCH_EPS, elementwise_affine=False)


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """Builds a linear layer that keeps the variance of its inputs at initialisation."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
