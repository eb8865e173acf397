"""The mode ``basic_plus``: what fossilizing earns drips, by what the fossil goes on to do.

``drip_fraction`` of ``basic``'s reward for fossilizing is not paid at once but epoch by
epoch, each by the contribution measured in it. Fossils whose contribution stays the same
earn as much as in ``basic``; one that was fossilized at a lucky moment, or that goes bad,
does not. With 0 it is ``basic``, and with 1 its attribution is that of ``shaped``.

In the family ``loss`` it is the fall of the loss that drips, as long as it lasts.
"""

from __future__ import annotations

from esper_leyline import SeedReport
from esper_simic.rewards.attribution import bounty, credit, pay, wage
from esper_simic.rewards.costs import rent
from esper_simic.rewards.lasting import LastingFall
from esper_simic.rewards.outcome import crash
from esper_simic.rewards.progress import progress
from esper_simic.rewards.step import Parts, Step


def basic_plus() -> Parts:
    """Pays a share of a fossil's reward at once and the rest as long as it contributes."""
    return {"attribution": _attribution, "drip": _drip, "rent": rent, "terminal": crash}


def basic_plus_by_loss() -> Parts:
    """Pays a share of a fall at once and the rest as long as the loss stays down."""
    lasting = LastingFall()
    return {
        "progress": lambda step: (1.0 - step.config.drip_fraction) * progress(step),
        "drip": lambda step: step.config.drip_fraction * lasting(step),
        "rent": rent,
        "terminal": crash,
    }


def _attribution(step: Step) -> float:
    return pay(step, _immediate, credit)


def _drip(step: Step) -> float:
    return step.config.drip_fraction * pay(step, wage)


def _immediate(step: Step, before: SeedReport, after: SeedReport) -> float:
    return (1.0 - step.config.drip_fraction) * bounty(step, before, after)
