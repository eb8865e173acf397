"""Checks of arguments, and how an error message shows a value."""

from __future__ import annotations

import math
from numbers import Real

from torch import Tensor, nn

from esper_kasmina.errors import KasminaError
from esper_leyline import show_text

_SHOWN = 60
"""Most characters of a value in an error message."""


def shown(value: object) -> str:
    """Returns the ``repr`` of a value as one line, shortened if it is long."""
    return show_text(" ".join(repr(value).split()), _SHOWN)


def check_model(model: object) -> nn.Module:
    """Returns a model.

    Raises:
        KasminaError: If it is not a module.
    """
    if not isinstance(model, nn.Module):
        raise KasminaError(f"the model is a {type(model).__name__}; give an instance of nn.Module")
    return model


def check_snapshot(snapshot: object, kind: type) -> None:
    """Checks that an object is a snapshot of a class.

    Raises:
        KasminaError: If it is not.
    """
    if not isinstance(snapshot, kind):
        raise KasminaError(f"the snapshot is {shown(snapshot)}; give what snapshot() returned")


def check_rate(name: str, value: object) -> None:
    """Checks a learning rate, or a factor of one. It may be a tensor of one number.

    Raises:
        KasminaError: If it is not a finite number of at least 0.
    """
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    if not isinstance(number, Real) or not 0 <= float(number) < math.inf:
        raise KasminaError(f"{name} is {shown(value)}; give a number from 0")
