"""Norm: per-channel normalisation, the cheapest seed."""

from __future__ import annotations

from torch import nn

from esper_kasmina.blueprints.layers import branch_norm


def build(channels: int, dimensions: int) -> nn.Module:
    """Builds the branch: one norm with learnable scale and shift."""
    return branch_norm(channels, dimensions=dimensions)
