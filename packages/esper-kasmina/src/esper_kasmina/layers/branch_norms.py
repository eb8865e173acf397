"""Batch norms of seeds: those of torch, without the counter of batches.

``torch.nn.BatchNorm2d`` increments a counter in place, which ``torch.func`` does not support in
training mode. The norms of seeds have a fixed momentum and do not need the counter. State dicts
contain it, so that they fit torch's own norms.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from esper_kasmina._torch import BatchNormBase
from esper_kasmina.layers.signals import SignalNorm, share_norm


class _WithoutCounter(BatchNormBase):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """Takes and returns [B, C, ...]."""
        assert self.momentum is not None  # None averages over all batches, which needs the counter
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


class BranchNorm1d(SignalNorm, _WithoutCounter):
    """Over signals [B, C, L]."""


class BranchNorm2d(nn.BatchNorm2d, _WithoutCounter):
    """Over images [B, C, H, W]."""

    def plain(self) -> nn.BatchNorm2d:
        """Returns a layer of torch that shares the parameters and statistics of this one."""
        return share_norm(self, nn.BatchNorm2d)


class BranchNorm3d(nn.BatchNorm3d, _WithoutCounter):
    """Over volumes and videos [B, C, D, H, W]."""

    def plain(self) -> nn.BatchNorm3d:
        """Returns a layer of torch that shares the parameters and statistics of this one."""
        return share_norm(self, nn.BatchNorm3d)
