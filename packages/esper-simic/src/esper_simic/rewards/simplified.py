"""The mode ``simplified``: shaping, the price of interventions, and how it ended."""

from __future__ import annotations

from esper_simic.rewards.committed import FinalFall
from esper_simic.rewards.costs import intervention
from esper_simic.rewards.outcome import outcome
from esper_simic.rewards.potential import shaping
from esper_simic.rewards.step import Parts, Step


def simplified() -> Parts:
    """Pays at the end; on the way only what telescopes."""
    return {"shaping": shaping, "intervention": intervention, "terminal": _terminal}


def simplified_by_loss() -> Parts:
    """Pays at the end for the share of the first loss by which the committed loss fell."""
    return {
        "shaping": shaping,
        "intervention": intervention,
        "terminal": FinalFall(lambda config: config.terminal_accuracy_weight),
    }


def _terminal(step: Step) -> float:
    return outcome(step, step.config.simplified_fossil_bonus, unpaid=step.ransoms)
