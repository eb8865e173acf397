"""Running standardisation of the features that have no upper bound."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from esper_leyline import BASE_FEATURES, BASE_SIZE, SLOT_FEATURES
from esper_leyline.observation import SLOT_SIZE, UNMEASURED, Feature

UNBOUNDED = frozenset({"val_loss", "loss_history", "gradient_norm"})
"""The features that are standardised."""

_CLIP = 10.0
_EPSILON = 1e-6
"""Added to variances: no deviation is below 0.001, so nearly constant features stay small."""


class ObservationNormalizer(nn.Module):
    """Standardises losses and gradient norms; every other feature is unchanged.

    The other features are bounded, and standardised flags and one-hots would be large where they
    are rare. Unmeasured entries do not count in the statistics and stay ``UNMEASURED``. A
    standardised value may equal that number. A policy can still tell them apart, because each
    standardised feature has a bounded one that is unmeasured with it: the accuracy for a loss,
    the gradient health for a gradient norm.

    The statistics (Chan, Golub and LeVeque 1983) are buffers, saved with the policy and changed
    by ``update`` only. Before the first update all features are unchanged.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor
    shift: Tensor
    scale: Tensor
    standardized: Tensor

    def __init__(self, slots: int) -> None:
        super().__init__()
        standardized = torch.tensor(list(_standardized(slots)))
        size = standardized.shape[0]
        self.register_buffer("standardized", standardized, persistent=False)
        self.register_buffer("count", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def forward(self, features: Tensor) -> Tensor:
        """Standardises features [..., F] and clips them to ±10."""
        scaled = ((features - self.shift) * self.scale).clamp(-_CLIP, _CLIP)
        return torch.where(features == UNMEASURED, features, scaled)

    @torch.no_grad()
    def update(self, features: Tensor, valid: Tensor) -> None:
        """Adds features [..., F] to the statistics where ``valid`` [...] is true."""
        values = features[valid].double()
        known = self.standardized & (values != UNMEASURED)
        added = known.sum(dim=0).double()
        mean = torch.where(known, values, 0.0).sum(dim=0) / added.clamp_min(1.0)
        squares = torch.where(known, (values - mean) ** 2, 0.0).sum(dim=0)
        total = self.count + added
        share = added / total.clamp_min(1.0)
        delta = mean - self.mean
        self.squares += squares + delta**2 * self.count * share
        self.mean += delta * share
        self.count.copy_(total)
        variance = self.squares / total.clamp_min(1.0)
        self.shift.copy_(self.mean)
        self.scale.copy_(torch.where(total >= 2, (variance + _EPSILON).rsqrt(), 1.0))


def _standardized(slots: int) -> Iterator[bool]:
    yield from _columns(BASE_FEATURES, BASE_SIZE)
    for _ in range(slots):
        yield from _columns(SLOT_FEATURES, SLOT_SIZE)


def _columns(features: tuple[Feature, ...], size: int) -> list[bool]:
    columns = [False] * size
    for feature in features:
        for offset in range(feature.width):
            columns[feature.offset + offset] = feature.name in UNBOUNDED
    return columns
