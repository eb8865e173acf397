"""Pay for what a seed is measured to contribute, and for nothing else.

A seed's contribution is the accuracy that would be lost without it, so the host's own
progress is in no payment. Modes are made of three dues:

- ``wage``: a *fossilized* seed earns its contribution every epoch, a harmful one's being
  a loss.
- ``bounty``: what the wages of all epochs to come would add up to, at once, when a seed
  is fossilized.
- ``credit``: a seed that is blended in, committed or not, is credited a share of its
  contribution, where that is positive, as a potential: paid once when the contribution
  shows, taken back when it goes. Over any loop it sums to nothing, so waiting, turning
  alpha up and down, and blending only to prune earn nothing; committing is what pays.
"""

from __future__ import annotations

from collections.abc import Callable

from esper_leyline import SeedReport, SeedStage
from esper_simic.rewards.measures import paired_seeds
from esper_simic.rewards.step import Step

FOSSIL_RATE = 0.15
"""Pay an epoch for one unit of a seed's contribution."""

Due = Callable[[Step, SeedReport, SeedReport], float]
"""What one seed is due for a step, given its reports before and after."""


def pay(step: Step, *dues: Due) -> float:
    """Returns the weighted sum of dues over all seeds.

    A seed that is held to ransom gets nothing for the step, but still bears a loss.
    """
    paid = 0.0
    for before, after in paired_seeds(step.previous, step.current):
        due = sum(due(step, before, after) for due in dues)
        if after.slot in step.ransoms:
            due = min(due, 0.0)
        paid += due
    return step.config.attribution_weight * paid


def attribution(step: Step) -> float:
    """Pays each epoch for what fossils contribute in it, and credits what is blended in."""
    return pay(step, wage, credit)


def earning(step: Step, seed: SeedReport) -> float:
    """Returns what a seed's contribution is worth for one epoch."""
    return FOSSIL_RATE * step.epoch_share * step.after.units(seed.slot)


def wage(step: Step, before: SeedReport, after: SeedReport) -> float:  # noqa: ARG001 - a due
    """Pays a fossil for this epoch."""
    return earning(step, after) if after.stage is SeedStage.FOSSILIZED else 0.0


def bounty(step: Step, before: SeedReport, after: SeedReport) -> float:
    """Pays for fossilizing, by the contribution then measured, for all epochs to come."""
    if after.stage is not SeedStage.FOSSILIZED or before.stage is SeedStage.FOSSILIZED:
        return 0.0
    return step.epochs_left * earning(step, after)


def credit(step: Step, before: SeedReport, after: SeedReport) -> float:  # noqa: ARG001 - a due
    """Credits a share of a positive contribution while it lasts."""
    share = step.config.attribution_live_share
    held = share * max(step.after.units(after.slot), 0.0)
    return step.gamma * held - share * max(step.before.units(after.slot), 0.0)
