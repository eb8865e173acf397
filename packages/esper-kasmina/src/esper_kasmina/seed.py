"""A seed: a branch behind a scale that starts at zero."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esper_kasmina.blueprints import CNN_BLUEPRINTS
from esper_leyline import Blueprint


class Seed(nn.Module):
    """The module x + scale · branch(x), the identity at birth.

    ``scale`` is one number that starts at zero (ReZero, Bachlechner et al. 2021). It
    comes after the branch's own norm, so its first gradient is of ordinary size, and
    the branch learns as soon as the scale has moved.

    Attributes:
        scale: Learnable scalar, shape [].
        branch: What the blueprint built.
        frozen: Whether parameters and running statistics stand still for good.
    """

    def __init__(self, blueprint: Blueprint, channels: int, *, dimensions: int) -> None:
        """Builds a seed for [B, channels, ...] with ``dimensions`` spatial dimensions."""
        super().__init__()
        self.frozen = False
        self.branch = CNN_BLUEPRINTS[blueprint](channels, dimensions)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, hidden: Tensor) -> Tensor:
        """Takes and returns [B, C, ...]."""
        return torch.addcmul(hidden, self.scale, self.branch(hidden))

    def train(self, mode: bool = True) -> Seed:
        """Switches modes as in torch; a frozen seed stays in evaluation."""
        return super().train(mode and not self.frozen)

    def freeze(self) -> None:
        """Stops all learning in this seed, running statistics included."""
        self.frozen = True
        self.requires_grad_(requires_grad=False)
        self.zero_grad(set_to_none=True)
        self.train(mode=False)

    @property
    def size(self) -> int:
        """Number of parameters, frozen or not."""
        return sum(parameter.numel() for parameter in self.parameters())
