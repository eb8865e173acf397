"""One convolution with kernel size 3."""

from __future__ import annotations

from torch import nn

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.layers.builders import branch_activation, branch_norm, convolution


def build(activations: ActivationSpec) -> nn.Module:
    """Builds the branch: convolution, norm and activation."""
    channels, dimensions = activations.channels, activations.dimensions
    return nn.Sequential(
        convolution(channels, channels, kernel=3, dimensions=dimensions),
        branch_norm(channels, dimensions=dimensions),
        branch_activation(),
    )
