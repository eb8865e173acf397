"""Checks of the arguments of the gymnasium environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from esper_leyline import HEADS
from esper_tolaria.errors import TolariaError

Rows = list[list[int]]


def check_rows(actions: ArrayLike, hosts: int, sizes: Sequence[int]) -> Rows:
    """Returns actions [hosts, heads] as lists of indices.

    Raises:
        TolariaError: If the shape differs, or an index is not an integer in the range of its head.
    """
    rows = np.asarray(actions)
    expected = (hosts, len(sizes))
    if rows.shape != expected:
        raise TolariaError(
            f"actions have shape {rows.shape}; give {expected}: hosts by heads ({', '.join(HEADS)})"
        )
    if not np.issubdtype(rows.dtype, np.integer):
        raise TolariaError(f"actions are of type {rows.dtype}; give integers, one index per head")
    outside = np.argwhere((rows < 0) | (rows >= np.array(sizes)))
    if len(outside):
        host, head = outside[0]
        raise TolariaError(
            f"action of host {host} has {HEADS[head]} {rows[host, head]}; "
            f"indices of that head are 0 to {sizes[head] - 1}"
        )
    indices: list[list[int]] = rows.tolist()
    return indices


def check_options(options: Mapping[str, Any] | None) -> None:
    """Checks that ``reset`` got no options; these environments have none.

    Raises:
        TolariaError: If there are any.
    """
    if options:
        raise TolariaError(
            f"reset got the options {', '.join(map(str, options))}; it takes none, and all hosts "
            "are reset together"
        )
