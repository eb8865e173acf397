"""Heavy convolution: two 3-wide convolutions, a view five wide."""

from __future__ import annotations

from torch import nn

from esper_kasmina.blueprints.layers import branch_activation, branch_norm, convolution


def build(channels: int, dimensions: int) -> nn.Module:
    """Builds the branch: twice a 3-wide convolution, norm and activation."""
    return nn.Sequential(
        convolution(channels, channels, kernel=3, dimensions=dimensions),
        branch_norm(channels, dimensions=dimensions),
        branch_activation(),
        convolution(channels, channels, kernel=3, dimensions=dimensions),
        branch_norm(channels, dimensions=dimensions),
        branch_activation(),
    )
