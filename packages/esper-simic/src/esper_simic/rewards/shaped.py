"""The ``shaped`` reward: seven named components whose sum is the reward."""

from __future__ import annotations

import math
from dataclasses import dataclass

from esper_leyline import (
    LIVE_STAGES,
    EpisodeEnd,
    FactoredAction,
    Op,
    RewardBreakdown,
    RewardConfig,
    SeedReport,
    SeedStage,
    StepReport,
)
from esper_simic.rewards.attribution import attribution, epoch_share
from esper_simic.rewards.measures import alpha_of, clip, finite, grown_share, paired_seeds
from esper_simic.rewards.potential import shaping

EXCESS_CAP = 5.0
"""Most that exceeding the parameter budget counts, in budgets."""

ALPHA_SHOCK_CAP = 0.5
"""Largest penalty for one step's changes of alpha."""

CLEARLY_POSITIVE = 1.0
"""Points of contribution from which a seed counts in full, and should not be pruned."""

GOVERNOR_PENALTY = 1.0
"""Least penalty for an episode that the governor ended."""


@dataclass(frozen=True, kw_only=True, slots=True, init=False)
class ShapedReward:
    """Dense reward keyed on measured contributions.

    =============  ==================================================================
    shaping        telescoping potential of the seeds' stages
    attribution    pay for contributions, see ``esper_simic.rewards.attribution``
    rent           for grown parameters relative to the host's, and beyond the budget
    alpha_shock    for squared changes of alpha, weighted by the seed's size
    warnings       for what should not have been done, see ``_warnings``
    intervention   for every op but WAIT
    terminal       accuracy and contributing fossils; a penalty if the governor ended it
    =============  ==================================================================

    Rent, shock, warnings and intervention are never positive. Rent and the pay of
    fossils are rates: an episode longer than ``REFERENCE_EPOCHS`` spreads the same
    total over its epochs. Numbers that are missing or not finite count as nothing.
    """

    config: RewardConfig
    gamma: float

    def __init__(self, config: RewardConfig, *, gamma: float) -> None:
        object.__setattr__(self, "config", config)
        object.__setattr__(self, "gamma", gamma)

    def __call__(
        self, previous: StepReport, action: FactoredAction, current: StepReport
    ) -> RewardBreakdown:
        """Returns the reward for what ``action`` made of ``previous``; always finite."""
        paid, flags = attribution(previous, current, self.config, self.gamma)
        components = {
            "shaping": shaping(previous, current, self.config, self.gamma),
            "attribution": paid,
            "rent": -_rent(current, self.config),
            "alpha_shock": -_alpha_shock(previous, current, self.config),
            "warnings": -self.config.warning_weight * _warnings(previous, action, current),
            "intervention": 0.0 if action.op is Op.WAIT else -self.config.intervention_cost,
            "terminal": _terminal(current, self.config),
        }
        return RewardBreakdown(components=components, flags=flags)


def _rent(report: StepReport, config: RewardConfig) -> float:
    grown = max(report.fossil_parameters, 0) + max(report.live_parameters, 0)
    share = grown_share(report, grown, config.rent_host_params_floor)
    rent = min(config.rent_weight * math.log1p(share), config.rent_cap)
    excess = clip((grown - config.param_budget) / config.param_budget, 0.0, EXCESS_CAP)
    return epoch_share(report) * (rent + config.param_penalty_weight * excess)


def _alpha_shock(previous: StepReport, current: StepReport, config: RewardConfig) -> float:
    shock = 0.0
    for before, after in paired_seeds(previous, current):
        change = alpha_of(after) - alpha_of(before)
        parameters = max(before.parameters, after.parameters)
        shock += change * change * grown_share(current, parameters, config.rent_host_params_floor)
    return min(config.alpha_shock_weight * shock, ALPHA_SHOCK_CAP)


def _warnings(previous: StepReport, action: FactoredAction, current: StepReport) -> int:
    """Counts what should not have been done.

    A rejected action; pruning a seed whose contribution is clearly positive; and, when
    the episode ends, each seed that was neither committed nor removed.
    """
    count = int(current.action_succeeded is False)
    if action.op is Op.PRUNE and action.slot < len(previous.seeds):
        contribution = finite(previous.seeds[action.slot].contribution) or 0.0
        count += int(contribution >= CLEARLY_POSITIVE)
    if current.ended is not None:
        count += sum(seed.stage in LIVE_STAGES and not seed.pruning for seed in current.seeds)
    return count


def _terminal(report: StepReport, config: RewardConfig) -> float:
    if report.ended is None:
        return 0.0
    if report.ended is EpisodeEnd.GOVERNOR:
        return -max(GOVERNOR_PENALTY, config.terminal_accuracy_weight)
    accuracy = clip(finite(report.val_accuracy) or 0.0, 0.0, 100.0) / 100.0
    fossils = sum(_contributing(seed) for seed in report.seeds)
    return config.terminal_accuracy_weight * accuracy + config.terminal_fossil_bonus * fossils


def _contributing(seed: SeedReport) -> float:
    """Returns 1 for a clearly contributing fossil, less for one within the noise, else 0."""
    if seed.stage is not SeedStage.FOSSILIZED:
        return 0.0
    return clip((finite(seed.contribution) or 0.0) / CLEARLY_POSITIVE, 0.0, 1.0)
