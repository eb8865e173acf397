"""The order in which an epoch reads the training rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def epoch_order(rng_seed: int, epoch: int, rows: int) -> Tensor:
    """Returns a permutation of the rows, [rows] int64, seeded by random seed and epoch.

    All hosts share it, so no host depends on the others.
    """
    return torch.from_numpy(np.random.default_rng((rng_seed, epoch)).permutation(rows))
