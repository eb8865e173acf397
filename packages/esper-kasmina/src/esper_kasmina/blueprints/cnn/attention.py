"""Attention: squeeze-and-excitation (Hu et al. 2018), which reweights channels by context."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from esper_kasmina.activations.spec import ActivationSpec

REDUCTION = 4
"""The inner width is the channels over this."""


class SqueezeExcite(nn.Module):
    """Weighs each channel, between 0 and 1, by what the whole sample shows.

    SiLU stands where the paper has ReLU: means of activations are all positive, and a
    quarter of eight channels would be dead at initialization half the time.
    """

    def __init__(self, channels: int, dimensions: int) -> None:
        super().__init__()
        inner = max(1, channels // REDUCTION)
        self.squeeze = nn.Linear(channels, inner, bias=False)
        self.excite = nn.Linear(inner, channels)
        self._spatial = tuple(range(2, 2 + dimensions))

    def forward(self, hidden: Tensor) -> Tensor:
        """Takes and returns [B, C, ...]."""
        summary = hidden.mean(dim=self._spatial)
        weights = torch.sigmoid(self.excite(silu(self.squeeze(summary))))
        # No sizes are written down, so that channels can be pruned from a harvest.
        for axis in self._spatial:
            weights = weights.unsqueeze(axis)
        return hidden * weights


def build(activations: ActivationSpec) -> nn.Module:
    """Builds the branch; the same for any number of spatial dimensions."""
    return SqueezeExcite(activations.channels, activations.dimensions)
