"""LoRA (Hu et al. 2022): a linear map of low rank.

The paper initialises one of the two factors to zero. Here the seed's scale is zero instead, so both
factors are initialised as usual.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.layers.builders import linear, stream_norm

RANK = 8
LARGE_RANK = 32


def _build(activations: ActivationSpec, *, rank: int) -> nn.Module:
    """Builds the branch: norm, a map to ``rank`` dimensions, and a map back."""
    width = activations.channels
    return nn.Sequential(
        stream_norm(width),
        linear(width, rank, bias=False),
        linear(rank, width, bias=False),
    )


build = partial(_build, rank=RANK)
build_large = partial(_build, rank=LARGE_RANK)
