"""Deep copies of models whose weights are computed from others."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def copy_model(model: Model) -> Model:
    """Returns a deep copy, also of a model that has run with masks or weight norms.

    ``torch.nn.utils.prune`` and ``weight_norm`` keep a layer's weight as a plain tensor with
    the graph of its last pass, which ``copy.deepcopy`` refuses. Its values are copied.
    """
    computed = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and value.grad_fn is not None
    }
    return copy.deepcopy(model, computed)
