"""The order in which an epoch reads the training rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def epoch_order(seed: int, epoch: int, rows: int) -> Tensor:
    """Returns a permutation of the rows, [rows] int64, that follows from seed and epoch alone.

    All hosts of an epoch share it, so no host's path depends on its neighbours.
    """
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(rows))
