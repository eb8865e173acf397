"""The seeds of hosts that no training has met."""

from __future__ import annotations

from enum import StrEnum

from esper_simic.errors import SimicError

FIRST_UNSEEN = 2**31
"""Host seeds of rounds are below this (``episode_seeds``), those of evaluations are not."""

RANGE_SIZE = 2**30
"""Seeds of each range."""


class SeedRange(StrEnum):
    """What an evaluation is for, which decides its hosts: the ranges share none."""

    TUNING = "tuning"
    """To choose settings by, as often as it takes: 2^31 and up."""
    REPORTING = "reporting"
    """To publish figures from, once all is chosen: 2^31 + 2^30 and up."""


_STARTS = {SeedRange.TUNING: FIRST_UNSEEN, SeedRange.REPORTING: FIRST_UNSEEN + RANGE_SIZE}


def evaluation_seeds(
    count: int, *, first: int = 0, use: SeedRange = SeedRange.TUNING
) -> tuple[int, ...]:
    """Returns the host seeds of an evaluation: consecutive, and disjoint from every run's.

    More of them begin with the fewer, so an evaluation can be extended.

    Args:
        count: How many.
        first: How many of the range to skip, for seeds that an earlier evaluation has not
            used.
        use: What they are for.

    Raises:
        SimicError: If the range does not have so many.
    """
    if count < 1 or first < 0 or first + count > RANGE_SIZE:
        raise SimicError(
            f"{count} evaluation seeds after the first {first}; take at least 1, "
            f"and {RANGE_SIZE} in all"
        )
    start = _STARTS[use] + first
    return tuple(range(start, start + count))
