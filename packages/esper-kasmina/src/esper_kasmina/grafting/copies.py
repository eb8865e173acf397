"""Deep copies of models whose weights are computed by hooks."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def copy_model(model: Model) -> Model:
    """Returns a deep copy, also of a model that has run with ``prune`` or ``weight_norm``.

    These functions of ``torch.nn.utils`` store a layer's weight as a tensor with the graph of the
    last pass, which ``copy.deepcopy`` refuses. Such tensors are copied without their graph.
    """
    memo = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and value.grad_fn is not None
    }
    return copy.deepcopy(model, memo)
