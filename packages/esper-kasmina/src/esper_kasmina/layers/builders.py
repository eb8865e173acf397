"""The layers that hosts and branches are made of."""

from __future__ import annotations

from torch import Tensor, nn

from esper_kasmina.layers.branch_norms import BranchNorm1d, BranchNorm2d, BranchNorm3d
from esper_kasmina.layers.signals import SignalConvolution, SignalNorm

BRANCH_EPS = 1e-3
"""Added to a branch's variances: a norm of a near-constant signal multiplies gradients by
1/sqrt(eps), 32 here and 316 with torch's own 1e-5."""

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d

_CONVOLUTIONS: dict[int, type[Convolution]] = {1: SignalConvolution, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: dict[int, type[BatchNorm]] = {1: SignalNorm, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_BRANCH_NORMS: dict[int, type[BatchNorm]] = {1: BranchNorm1d, 2: BranchNorm2d, 3: BranchNorm3d}


class ChannelsLast(nn.Module):
    """Runs a module over maps with the channels second on maps with the channels last.

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
    """Builds a convolution; odd kernels keep the spatial size."""
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

    Both signs pass, so that one scale can add to some channels and take from others.
    """
    return nn.LeakyReLU(0.2)


def stream_norm(width: int) -> nn.Module:
    """Builds the norm through which a branch reads tokens or vectors; it has no parameters.

    The stream of a residual network grows from layer to layer, so every module of a
    pre-norm network reads it normalised (Xiong et al. 2020).
    """
    return nn.LayerNorm(width, eps=BRANCH_EPS, elementwise_affine=False)


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """Builds a linear layer whose outputs are about as large as its inputs at birth."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
