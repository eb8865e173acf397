"""The parts of torch used here that its documentation does not describe.

``adamw`` and ``sgd`` are the functions behind ``torch.optim.AdamW`` and ``torch.optim.SGD``. The
classes import torch's compiler when the first one is created, which takes three seconds in every
process; the functions do not. The ``_foreach`` functions make one call for many tensors.
``tests/test_torch.py`` tests each use.
"""

# ruff: noqa: SLF001 - this module is where private names of torch are read

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

__all__ = ["adamw", "divide_each", "norm_of_each", "sgd"]


def norm_of_each(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Returns the L2 norm [] of each tensor."""
    norms: tuple[Tensor, ...] = torch._foreach_norm(list(tensors))
    return norms


def divide_each(tensors: Sequence[Tensor], divisors: Sequence[Tensor]) -> None:
    """Divides each tensor by its divisor [], in place."""
    torch._foreach_div_(list(tensors), list(divisors))
