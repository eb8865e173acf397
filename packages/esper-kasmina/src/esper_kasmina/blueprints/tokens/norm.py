"""Layer normalisation (Ba et al. 2016), the cheapest seed for tokens and vectors."""

from __future__ import annotations

from torch import nn

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.layers.builders import BRANCH_EPS


def build(activations: ActivationSpec) -> nn.Module:
    """Builds the branch: a norm with learnable scale and shift."""
    return nn.LayerNorm(activations.channels, eps=BRANCH_EPS)
