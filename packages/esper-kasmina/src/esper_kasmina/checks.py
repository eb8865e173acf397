"""Checks of what users hand in, and how a message shows it."""

from __future__ import annotations

import math
from numbers import Real

from torch import Tensor, nn

from esper_kasmina.errors import KasminaError
from esper_leyline import show_text

_SHOWN = 60
"""Characters of a value that a message shows."""


def shown(value: object) -> str:
    """Returns a value as one short line of a message, however long its ``repr`` is."""
    return show_text(" ".join(repr(value).split()), _SHOWN)


def check_model(model: object) -> nn.Module:
    """Returns a model.

    Raises:
        KasminaError: If it is none.
    """
    if not isinstance(model, nn.Module):
        raise KasminaError(f"the model is a {type(model).__name__}; give an instance of nn.Module")
    return model


def check_snapshot(snapshot: object, kind: type) -> None:
    """Checks that something is a snapshot of a kind.

    Raises:
        KasminaError: If it is not.
    """
    if not isinstance(snapshot, kind):
        raise KasminaError(f"the snapshot is {shown(snapshot)}; give what snapshot() returned")


def check_rate(name: str, value: object) -> None:
    """Checks a learning rate, or a factor of one; it may be a tensor of one number.

    Raises:
        KasminaError: If it is no finite number from 0.
    """
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    if not isinstance(number, Real) or not 0 <= float(number) < math.inf:
        raise KasminaError(f"{name} is {shown(value)}; give a number from 0")
