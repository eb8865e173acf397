"""The three splits of a data set."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of one split: inputs [N, ...] float32 and targets [N] int64."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> Split:
        """Returns the split on a device; itself where it already is."""
        return Split(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Training, validation (all decisions) and test rows (reports only).

    Attributes:
        seed: Decides, with the epoch's number, the order of the training rows.
    """

    train: Split
    validation: Split
    test: Split
    seed: int

    def to(self, device: torch.device) -> Dataset:
        """Returns the data on a device."""
        return Dataset(
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
            seed=self.seed,
        )
