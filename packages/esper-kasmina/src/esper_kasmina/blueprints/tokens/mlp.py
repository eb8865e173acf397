"""The feed-forward network of a transformer block (Vaswani et al. 2017), with GELU."""

from __future__ import annotations

from functools import partial

from torch import nn

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.layers.builders import linear, stream_norm

EXPANSION = 4
SMALL_EXPANSION = 2


def _build(activations: ActivationSpec, *, expansion: int) -> nn.Module:
    """Builds the branch: norm, a wider hidden layer, GELU, and a layer back to the width."""
    width = activations.channels
    return nn.Sequential(
        stream_norm(width),
        linear(width, expansion * width),
        nn.GELU(),
        linear(expansion * width, width),
    )


build = partial(_build, expansion=EXPANSION)
build_small = partial(_build, expansion=SMALL_EXPANSION)
