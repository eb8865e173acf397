"""The mode ``simplified``: shaping, the price of interventions, and how it ended."""

from __future__ import annotations

from esper_simic.rewards.costs import intervention
from esper_simic.rewards.outcome import outcome
from esper_simic.rewards.potential import shaping
from esper_simic.rewards.step import Parts, Step


def simplified() -> Parts:
    """Pays at the end; on the way only what telescopes."""
    return {"shaping": shaping, "intervention": intervention, "terminal": _terminal}


def _terminal(step: Step) -> float:
    return outcome(step, step.config.simplified_fossil_bonus, unpaid=step.ransoms)
