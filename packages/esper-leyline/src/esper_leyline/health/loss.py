"""When the loss of a host is stable."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

SMALLEST_STABLE_FALL = -0.05
"""Relative fall of a stable loss in one epoch, at least: it may rise by 5 %."""

LARGEST_STABLE_FALL = 0.03
"""Relative fall of a stable loss in one epoch, at most."""


def is_loss_stable(
    losses: Sequence[float],
    window: int,
    *,
    smallest: float = SMALLEST_STABLE_FALL,
    largest: float = LARGEST_STABLE_FALL,
) -> bool:
    """Returns whether a loss hardly changed in each of the last epochs.

    Args:
        losses: The loss of each epoch so far, the latest last.
        window: Epochs that are looked at; fewer than that are not stable.
        smallest: Smallest relative fall in one epoch; negative for a rise.
        largest: Largest relative fall.
    """
    # relative fall: (loss_t-1 - loss_t) / loss_t-1
    falls = [(old - new) / old if old else 0.0 for old, new in pairwise(losses[-window - 1 :])]
    return len(falls) == window and all(smallest <= fall <= largest for fall in falls)
