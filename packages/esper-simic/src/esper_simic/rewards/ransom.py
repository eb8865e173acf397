"""Seeds that make themselves indispensable while the whole gets worse.

A host that comes to lean on a seed loses more without it, so the seed's contribution
rises although nothing was gained. Such a rise is flagged and not paid.
"""

from __future__ import annotations

from esper_leyline import SeedReport, StepReport
from esper_simic.rewards.measures import finite, paired_seeds
from esper_simic.rewards.worth import BLENDED_STAGES

RANSOM_RISE = 1.0
"""Points by which a seed's contribution rises when it makes itself indispensable."""

RANSOM_DROP = 2.0
"""Points by which the whole gets worse meanwhile."""


def find_ransoms(previous: StepReport, current: StepReport) -> tuple[str, ...]:
    """Returns the slots whose contribution rose while accuracy fell, row-major.

    A first measurement is no rise, and what was not measured has not fallen.
    """
    if _drop(previous, current) < RANSOM_DROP:
        return ()
    return tuple(
        after.slot
        for before, after in paired_seeds(previous, current)
        if _rise(before, after) >= RANSOM_RISE
    )


def _drop(previous: StepReport, current: StepReport) -> float:
    before, after = finite(previous.val_accuracy), finite(current.val_accuracy)
    return 0.0 if before is None or after is None else before - after


def _rise(before: SeedReport, after: SeedReport) -> float:
    old, new = finite(before.contribution), finite(after.contribution)
    if old is None or new is None or after.stage not in BLENDED_STAGES:
        return 0.0
    return new - old
