"""The seeds of hosts that no training has met."""

from __future__ import annotations

from esper_simic.errors import SimicError

FIRST_UNSEEN = 2**31
"""Host seeds of rounds are below this (``episode_seeds``), those of evaluations are not."""

LAST_UNSEEN = 2**32 - 1


def evaluation_seeds(count: int, *, first: int = 0) -> tuple[int, ...]:
    """Returns the host seeds of an evaluation: consecutive, and disjoint from every run's.

    More of them begin with the fewer, so an evaluation can be extended.

    Args:
        count: How many.
        first: How many to skip, for seeds that an earlier evaluation has not used.

    Raises:
        SimicError: If there are not so many.
    """
    start = FIRST_UNSEEN + first
    if count < 1 or first < 0 or start + count - 1 > LAST_UNSEEN:
        raise SimicError(
            f"{count} evaluation seeds after the first {first}; take at least 1, "
            f"and {LAST_UNSEEN - FIRST_UNSEEN + 1} in all"
        )
    return tuple(range(start, start + count))
