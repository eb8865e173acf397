"""Random seeds of hosts that no run trains on."""

from __future__ import annotations

from enum import StrEnum

from esper_simic.errors import SimicError

FIRST_UNSEEN = 2**31
"""Host seeds of rounds are below this (``episode_seeds``), those of evaluations are not."""

RANGE_SIZE = 2**30
"""Seeds of each range."""


class SeedRange(StrEnum):
    """What an evaluation is for. The ranges have no seed in common."""

    TUNING = "tuning"
    """To choose settings, as often as needed: from 2^31."""
    REPORTING = "reporting"
    """For published figures, once all settings are chosen: from 2^31 + 2^30."""


_STARTS = {SeedRange.TUNING: FIRST_UNSEEN, SeedRange.REPORTING: FIRST_UNSEEN + RANGE_SIZE}


def evaluation_seeds(
    count: int, *, first: int = 0, use: SeedRange = SeedRange.TUNING
) -> tuple[int, ...]:
    """Returns the host seeds of an evaluation. They are consecutive, and no run trains on them.

    The k-th seed does not depend on ``count``, so an evaluation can be extended.

    Args:
        count: Number of seeds.
        first: Seeds of the range to skip, because earlier evaluations used them.
        use: What the evaluation is for.

    Raises:
        SimicError: If the range does not have so many seeds.
    """
    if count < 1 or first < 0 or first + count > RANGE_SIZE:
        raise SimicError(
            f"{count} evaluation seeds after the first {first}; take at least 1, "
            f"and {RANGE_SIZE} in all"
        )
    start = _STARTS[use] + first
    return tuple(range(start, start + count))
