"""Attention over channels: squeeze-and-excitation (Hu et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from esper_kasmina.activations.spec import ActivationSpec

REDUCTION = 4
"""The number of channels divided by the inner width."""


class SqueezeExcite(nn.Module):
    """Multiplies each channel by a weight between 0 and 1, computed from all positions.

    It has SiLU where the paper has ReLU: means of activations after a ReLU are all positive, so
    about half of the inner units would be 0 for every sample at initialisation.
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
        # Not ``view`` with sizes, so that channels of a harvest can be pruned.
        for axis in self._spatial:
            weights = weights.unsqueeze(axis)
        return hidden * weights


def build(activations: ActivationSpec) -> nn.Module:
    """Builds the branch, for any number of spatial dimensions."""
    return SqueezeExcite(activations.channels, activations.dimensions)
