"""The mode ``basic``: contribution and rent, the least that can be learnt from.

A seed is paid for when it is fossilized, by the contribution then measured. What becomes
of it later changes nothing, which is the weakness that ``basic_plus`` mends.
"""

from __future__ import annotations

from esper_simic.rewards.attribution import bounty, credit, pay
from esper_simic.rewards.costs import rent
from esper_simic.rewards.outcome import crash
from esper_simic.rewards.progress import progress
from esper_simic.rewards.step import Parts, Step


def basic() -> Parts:
    """Pays for contributions, at once when a seed is fossilized."""
    return {"attribution": _attribution, "rent": rent, "terminal": crash}


def basic_by_loss() -> Parts:
    """Pays for a falling loss."""
    return {"progress": progress, "rent": rent, "terminal": crash}


def _attribution(step: Step) -> float:
    return pay(step, bounty, credit)
