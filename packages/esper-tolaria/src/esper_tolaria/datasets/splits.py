"""The three splits of a data set."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SPLIT_SEED = 42
"""Seeds the choice of validation rows from published training rows, and the row order."""

_IMAGE_AXES = 4
"""Number of axes of images [N, C, H, W]."""


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of one split.

    Attributes:
        inputs: [N, ...] float32, or tokens [N, T] int64.
        targets: [N] int64, or the token after each, [N, T] int64.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def predictions(self) -> int:
        """Number of predictions per row: one, or one per token."""
        return self.targets[:1].numel()

    def to(self, device: torch.device) -> Split:
        """Returns the split on a device, images in channels-last memory format.

        Convolutions are faster in that format, and gathered rows keep it.
        """
        images = self.inputs.dim() == _IMAGE_AXES
        order = torch.channels_last if images else torch.preserve_format
        return Split(self.inputs.to(device, memory_format=order), self.targets.to(device))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Training rows, validation rows (for all decisions) and test rows (for reports only).

    Attributes:
        rng_seed: Seeds, with the epoch, the order of the training rows.
    """

    train: Split
    validation: Split
    test: Split
    rng_seed: int

    def to(self, device: torch.device) -> Dataset:
        """Returns the data on a device."""
        return Dataset(
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
            rng_seed=self.rng_seed,
        )
