"""The parts of torch used here that its documentation does not describe.

``adamw`` and ``sgd`` are the functions behind ``torch.optim.AdamW`` and ``torch.optim.SGD``. The
classes import torch's compiler when the first one is created, which takes three seconds in every
process; the functions do not. ``tests/test_torch.py`` tests each use.
"""

from __future__ import annotations

from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

__all__ = ["adamw", "sgd"]
