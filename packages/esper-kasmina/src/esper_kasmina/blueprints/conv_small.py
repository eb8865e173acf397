"""Small convolution: mixes channels at each position, sees no neighbours."""

from __future__ import annotations

from torch import nn

from esper_kasmina.blueprints.layers import branch_activation, branch_norm, convolution


def build(channels: int, dimensions: int) -> nn.Module:
    """Builds the branch: a 1-wide convolution, norm and activation."""
    return nn.Sequential(
        convolution(channels, channels, kernel=1, dimensions=dimensions),
        branch_norm(channels, dimensions=dimensions),
        branch_activation(),
    )
