"""The mode ``shaped``: dense, seven parts."""

from __future__ import annotations

from esper_simic.rewards.attribution import attribution
from esper_simic.rewards.costs import alpha_shock, intervention, rent
from esper_simic.rewards.mistakes import unmeasured_warnings, warnings
from esper_simic.rewards.outcome import terminal
from esper_simic.rewards.potential import shaping
from esper_simic.rewards.progress import progress
from esper_simic.rewards.step import Parts


def shaped() -> Parts:
    """Pays for measured contributions."""
    return {
        "shaping": shaping,
        "attribution": attribution,
        "rent": rent,
        "alpha_shock": alpha_shock,
        "warnings": warnings,
        "intervention": intervention,
        "terminal": terminal,
    }


def shaped_by_loss() -> Parts:
    """Pays for a falling loss; no counterfactual is read, not by the terminal part either."""
    return {
        "shaping": shaping,
        "progress": progress,
        "rent": rent,
        "alpha_shock": alpha_shock,
        "warnings": unmeasured_warnings,
        "intervention": intervention,
        "terminal": terminal,
    }
