"""Batch norm, the cheapest seed for maps."""

from __future__ import annotations

from torch import nn

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.layers.builders import branch_norm


def build(activations: ActivationSpec) -> nn.Module:
    """Builds the branch: a norm with learnable scale and shift."""
    channels, dimensions = activations.channels, activations.dimensions
    return branch_norm(channels, dimensions=dimensions)
