"""Rewards at the end of an episode. They depend on the final state, not on the last step."""

from __future__ import annotations

from collections.abc import Collection

from esper_leyline import SeedReport, SeedStage, StepReport
from esper_simic.rewards.measurement import (
    BLENDED_STAGES,
    CLEARLY_POSITIVE,
    Contributions,
    clip,
    finite,
)
from esper_simic.rewards.step import Step

GOVERNOR_PENALTY = 1.0
"""Smallest penalty for an episode that the governor ended."""


def terminal(step: Step) -> float:
    """Rewards accuracy and contributing fossils; penalizes a rollback."""
    return outcome(step, step.config.terminal_fossil_bonus)


def outcome(step: Step, fossil_bonus: float, unpaid: Collection[str] = ()) -> float:
    """Returns weight * accuracy + bonus * contributing fossils in the last step, else 0.

    Args:
        step: The step.
        fossil_bonus: For a fossil that contributes ``CLEARLY_POSITIVE`` points or more, and in
            proportion below that.
        unpaid: Slots whose fossils get no bonus.
    """
    if step.current.ended is None or step.crashed:
        return crash(step)
    paid = step.config.terminal_accuracy_weight * accuracy_share(step.current.val_accuracy)
    fossils = sum(
        _contributing(seed, step.after) for seed in step.current.seeds if seed.slot not in unpaid
    )
    return paid + fossil_bonus * fossils


def crash(step: Step) -> float:
    """Returns the penalty for an episode that the governor ended, else 0."""
    if not step.crashed:
        return 0.0
    return -max(GOVERNOR_PENALTY, step.config.terminal_accuracy_weight)


def accuracy_share(accuracy: float | None) -> float:
    """Returns an accuracy in percent as a share of 1; 0 if it was not measured."""
    return clip(finite(accuracy) or 0.0, 0.0, 100.0) / 100.0


def committed_accuracy(report: StepReport) -> float | None:
    """Returns the accuracy in percent of the host with its fossils only.

    If that configuration was validated, it is in the counterfactuals. If not, the contributions of
    the live seeds are subtracted from the accuracy.
    """
    fossils = {seed.slot for seed in report.seeds if seed.stage is SeedStage.FOSSILIZED}
    for each in report.counterfactuals:
        if set(each.active) == fossils:
            return finite(each.accuracy)
    whole = finite(report.val_accuracy)
    if whole is None:
        return None
    return whole - sum(_uncommitted(seed) for seed in report.seeds)


def _contributing(seed: SeedReport, contributions: Contributions) -> float:
    if seed.stage is not SeedStage.FOSSILIZED:
        return 0.0
    return clip(contributions.points.get(seed.slot, 0.0) / CLEARLY_POSITIVE, 0.0, 1.0)


def _uncommitted(seed: SeedReport) -> float:
    if seed.stage not in BLENDED_STAGES - {SeedStage.FOSSILIZED}:
        return 0.0
    return clip(finite(seed.contribution) or 0.0, 0.0, 100.0)
