"""What the end of an episode is worth. It depends on where it ended, not on the last step."""

from __future__ import annotations

from collections.abc import Collection

from esper_leyline import SeedReport, SeedStage, StepReport
from esper_simic.rewards.measures import CLEARLY_POSITIVE, clip, finite
from esper_simic.rewards.step import Step
from esper_simic.rewards.worth import BLENDED_STAGES, Worth

GOVERNOR_PENALTY = 1.0
"""Least penalty for an episode that the governor ended."""


def terminal(step: Step) -> float:
    """Pays for accuracy and contributing fossils; charges if the governor ended it."""
    return outcome(step, step.config.terminal_fossil_bonus)


def outcome(step: Step, fossil_bonus: float, unpaid: Collection[str] = ()) -> float:
    """Returns weight * accuracy + bonus * contributing fossils, once the episode is over.

    Args:
        step: The step.
        fossil_bonus: For a fossil that contributes ``CLEARLY_POSITIVE`` points or more;
            less, in proportion, for one within the noise.
        unpaid: Slots whose fossils get none.
    """
    if step.current.ended is None or step.crashed:
        return crash(step)
    paid = step.config.terminal_accuracy_weight * accuracy_share(step.current.val_accuracy)
    fossils = sum(
        _contributing(seed, step.after) for seed in step.current.seeds if seed.slot not in unpaid
    )
    return paid + fossil_bonus * fossils


def crash(step: Step) -> float:
    """Charges if the governor ended the episode, in modes that pay for no other ending."""
    if not step.crashed:
        return 0.0
    return -max(GOVERNOR_PENALTY, step.config.terminal_accuracy_weight)


def accuracy_share(accuracy: float | None) -> float:
    """Returns an accuracy in percent as a share; 0 where it was not measured."""
    return clip(finite(accuracy) or 0.0, 0.0, 100.0) / 100.0


def committed_accuracy(report: StepReport) -> float | None:
    """Returns the accuracy in percent that fossils alone would leave, uncommitted seeds gone.

    It is read off the counterfactuals where that configuration was validated. Where it was
    not, what the uncommitted seeds contribute, one left out at a time, is taken off.
    """
    fossils = {seed.slot for seed in report.seeds if seed.stage is SeedStage.FOSSILIZED}
    for each in report.counterfactuals:
        if set(each.active) == fossils:
            return finite(each.accuracy)
    whole = finite(report.val_accuracy)
    if whole is None:
        return None
    return whole - sum(_uncommitted(seed) for seed in report.seeds)


def _contributing(seed: SeedReport, worth: Worth) -> float:
    if seed.stage is not SeedStage.FOSSILIZED:
        return 0.0
    return clip(worth.points.get(seed.slot, 0.0) / CLEARLY_POSITIVE, 0.0, 1.0)


def _uncommitted(seed: SeedReport) -> float:
    if seed.stage not in BLENDED_STAGES - {SeedStage.FOSSILIZED}:
        return 0.0
    return clip(finite(seed.contribution) or 0.0, 0.0, 100.0)
