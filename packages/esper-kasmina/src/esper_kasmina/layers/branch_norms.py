"""The batch norms of seeds: torch's own, without the counter that they would never read.

``torch.nn.BatchNorm2d`` counts its batches in place, which stops ``torch.func`` in every
model that holds one in training mode. A seed's norm has a fixed momentum, so the count
changes nothing. State dicts keep its entry.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from esper_kasmina._torch import BatchNormBase
from esper_kasmina.layers.signals import SignalNorm, share_norm


class _Uncounted(BatchNormBase):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Takes and returns [B, C, ...]."""
        assert self.momentum is not None  # without one it would be an average over the count
        return F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )


class BranchNorm1d(SignalNorm, _Uncounted):
    """Over signals [B, C, L]."""


class BranchNorm2d(nn.BatchNorm2d, _Uncounted):
    """Over images [B, C, H, W]."""

    def plain(self) -> nn.BatchNorm2d:
        """Returns torch's own layer with these very parameters and statistics."""
        return share_norm(self, nn.BatchNorm2d)


class BranchNorm3d(nn.BatchNorm3d, _Uncounted):
    """Over volumes and videos [B, C, D, H, W]."""

    def plain(self) -> nn.BatchNorm3d:
        """Returns torch's own layer with these very parameters and statistics."""
        return share_norm(self, nn.BatchNorm3d)
