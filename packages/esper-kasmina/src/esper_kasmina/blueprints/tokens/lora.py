"""LoRA (Hu et al. 2022): a linear map of low rank.

The paper starts at the identity by a zero in one of the two factors; here that zero is the
seed's scale, so both factors get a gradient from the start.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.layers.builders import linear, stream_norm

RANK = 8
LARGE_RANK = 32


def _build(activations: ActivationSpec, *, rank: int) -> nn.Module:
    """Builds the branch: down to the rank, and up again."""
    width = activations.channels
    return nn.Sequential(
        stream_norm(width),
        linear(width, rank, bias=False),
        linear(rank, width, bias=False),
    )


build = partial(_build, rank=RANK)
build_large = partial(_build, rank=LARGE_RANK)
