"""Bottleneck (He et al. 2016): a convolution with kernel size 3 on a quarter of the channels."""

from __future__ import annotations

from torch import nn

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.layers.builders import branch_activation, branch_norm, convolution

REDUCTION = 4
"""The number of channels divided by the inner width."""


def build(activations: ActivationSpec) -> nn.Module:
    """Builds the branch: reduce channels, convolve, restore channels, norm and activation."""
    channels, dimensions = activations.channels, activations.dimensions
    inner = max(1, channels // REDUCTION)
    return nn.Sequential(
        convolution(channels, inner, kernel=1, dimensions=dimensions),
        convolution(inner, inner, kernel=3, dimensions=dimensions),
        convolution(inner, channels, kernel=1, dimensions=dimensions),
        branch_norm(channels, dimensions=dimensions),
        branch_activation(),
    )
