"""Attention: squeeze-and-excitation (Hu et al. 2018), which reweights channels by context."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

REDUCTION = 4
"""The inner width is the channels over this."""


class SqueezeExcite(nn.Module):
    """Weighs each channel, between 0 and 1, by what the whole sample shows.

    SiLU stands where the paper has ReLU: means of activations are all positive, and a
    quarter of eight channels would be born dead half the time.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // REDUCTION)
        self.squeeze = nn.Linear(channels, inner, bias=False)
        self.excite = nn.Linear(inner, channels)

    def forward(self, hidden: Tensor) -> Tensor:
        """Takes and returns [B, C, ...]."""
        summary = hidden.mean(dim=tuple(range(2, hidden.dim())))
        weights = torch.sigmoid(self.excite(silu(self.squeeze(summary))))
        return hidden * weights.reshape(weights.shape + (1,) * (hidden.dim() - 2))


def build(channels: int, dimensions: int) -> nn.Module:
    """Builds the branch; the same for any number of spatial dimensions."""
    del dimensions
    return SqueezeExcite(channels)
