"""The family ``contribution``: rewards for the measured contributions of seeds.

The contribution of a seed is the accuracy that the host loses without it. The host's own progress
is in no reward. Modes are made of three terms per seed:

- ``per_epoch``: a *fossilized* seed earns its contribution every epoch; a negative contribution is
  a negative reward.
- ``on_fossilize``: the sum of ``per_epoch`` over all epochs that are left, at once, when a seed is
  fossilized.
- ``potential_credit``: a potential-based term of a share of the positive contribution of a blended
  seed. It sums to zero over any loop, so waiting, changing alpha back and forth, or blending only
  to prune earn nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from esper_leyline import SeedReport, SeedStage
from esper_simic.rewards.ledger import EpisodeLedger
from esper_simic.rewards.measurement import BLENDED_STAGES, paired_seeds
from esper_simic.rewards.step import Step

FOSSIL_RATE = 0.15
"""Reward per epoch for one unit of contribution."""

Term = Callable[[Step, SeedReport, SeedReport], float]
"""The reward of one seed for a step, given its reports before and after."""


def sum_terms(step: Step, *terms: Term) -> float:
    """Returns the weighted sum of terms over all seeds.

    A seed with an inflated contribution earns no positive reward in this step; a negative reward
    still applies.
    """
    total = 0.0
    for before, after in paired_seeds(step.previous, step.current):
        reward = sum(term(step, before, after) for term in terms)
        if after.slot in step.inflated:
            reward = min(reward, 0.0)
        total += reward
    return step.config.attribution_weight * total


def attribution(step: Step) -> float:
    """Returns the rewards of fossilized seeds for this epoch, and the credit of blended ones."""
    return sum_terms(step, per_epoch, potential_credit)


def epoch_reward(step: Step, seed: SeedReport) -> float:
    """Returns the reward of a seed's contribution for one epoch."""
    # rate * epoch weight * contribution in units
    return FOSSIL_RATE * step.epoch_share * step.after.units(seed.slot)


def per_epoch(step: Step, before: SeedReport, after: SeedReport) -> float:  # noqa: ARG001 - a Term
    """Rewards a fossilized seed for this epoch."""
    return epoch_reward(step, after) if after.stage is SeedStage.FOSSILIZED else 0.0


def on_fossilize(step: Step, before: SeedReport, after: SeedReport) -> float:
    """Rewards fossilization by the current contribution, for all epochs that are left."""
    if after.stage is not SeedStage.FOSSILIZED or before.stage is SeedStage.FOSSILIZED:
        return 0.0
    return step.epochs_left * epoch_reward(step, after)


def potential_credit(step: Step, before: SeedReport, after: SeedReport) -> float:  # noqa: ARG001
    """Returns gamma * potential(after) - potential(before), a share of positive contributions."""
    share = step.config.attribution_live_share
    held = share * max(step.after.units(after.slot), 0.0)
    return step.gamma * held - share * max(step.before.units(after.slot), 0.0)


class EscrowedContribution:
    """Keeps what live seeds earn in accounts, which are paid out when they are fossilized.

    Every epoch a blended seed earns its contribution. A fossilized seed is paid at once. The
    account of a live seed is paid when it is fossilized, and lost when it is pruned or when the
    episode ends first.
    """

    def __init__(self) -> None:
        self._accounts = EpisodeLedger[Mapping[str, float]]()

    def __call__(self, step: Step) -> float:
        """Adds what the seeds earned in this step and returns what is paid out.

        A seed with an inflated contribution loses what it earns in this step, but not its account.
        """
        held, kept, paid = self._accounts.get(step.previous) or {}, {}, 0.0
        for seed in step.current.seeds:
            earned = epoch_reward(step, seed)
            if seed.slot in step.inflated:
                earned = min(earned, 0.0)
            balance = held.get(seed.slot, 0.0) + earned
            if seed.stage is SeedStage.FOSSILIZED:
                paid += balance
            elif seed.stage in BLENDED_STAGES:
                kept[seed.slot] = balance
        self._accounts.put(step.current, kept)
        return 0.0 if step.crashed else step.config.attribution_weight * paid
