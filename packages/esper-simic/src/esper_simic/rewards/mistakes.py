"""Warnings: what should not have been done. Never positive."""

from __future__ import annotations

from esper_leyline import LIVE_STAGES, Op, SeedReport
from esper_simic.rewards.measures import CLEARLY_POSITIVE, finite
from esper_simic.rewards.step import Step

EARLY_AGE = 5
"""Epochs before which a seed has had no time to matter."""


def warnings(step: Step) -> float:
    """Charges for each thing that should not have been done.

    A rejected action; pruning a seed whose contribution is clearly positive; and, when
    the episode ends, each seed that was neither committed nor removed.
    """
    count = _rejected(step) + _useful_pruned(step) + _left_uncommitted(step)
    return -step.config.warning_weight * count


def unmeasured_warnings(step: Step) -> float:
    """Charges for the same things, those apart that only a counterfactual can tell."""
    return -step.config.warning_weight * (_rejected(step) + _left_uncommitted(step))


def early_prune(step: Step) -> float:
    """Charges for commanding the end of a seed younger than ``EARLY_AGE``."""
    seed = _pruned(step)
    early = seed is not None and seed.stage in LIVE_STAGES and seed.age < EARLY_AGE
    return -step.config.warning_weight * int(early and not _rejected(step))


def _pruned(step: Step) -> SeedReport | None:
    action, seeds = step.action, step.previous.seeds
    return seeds[action.slot] if action.op is Op.PRUNE and action.slot < len(seeds) else None


def _rejected(step: Step) -> int:
    return int(step.current.action_succeeded is False)


def _useful_pruned(step: Step) -> int:
    seed = _pruned(step)
    return int(seed is not None and (finite(seed.contribution) or 0.0) >= CLEARLY_POSITIVE)


def _left_uncommitted(step: Step) -> int:
    if step.current.ended is None:
        return 0
    return sum(seed.stage in LIVE_STAGES and not seed.pruning for seed in step.current.seeds)
