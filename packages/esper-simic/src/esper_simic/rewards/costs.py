"""Costs: parameters, sudden changes of alpha, interventions, and mistakes. Never positive."""

from __future__ import annotations

import math

from esper_leyline import LIVE_STAGES, Op, RewardConfig, SeedReport, StepReport
from esper_simic.rewards.measurement import (
    CLEARLY_POSITIVE,
    alpha_of,
    clip,
    finite,
    grown_share,
    paired_seeds,
)
from esper_simic.rewards.step import Step

EXCESS_CAP = 5.0
"""Largest excess over the parameter budget that is charged, in budgets."""

ALPHA_SHOCK_CAP = 0.5
"""Largest penalty for the changes of alpha in one step."""

EARLY_AGE = 5
"""Age in epochs below which pruning a seed is early."""


def rent(step: Step) -> float:
    """Charges one epoch's rent for the parameters of all seeds."""
    return -(step.epoch_share * full_rent(step.current, step.config))


def alpha_shock(step: Step) -> float:
    """Charges squared changes of alpha, weighted by the size of the seeds."""
    config, shock = step.config, 0.0
    for before, after in paired_seeds(step.previous, step.current):
        change = alpha_of(after) - alpha_of(before)
        parameters = max(before.parameters, after.parameters)
        share = grown_share(step.current, parameters, config.rent_host_params_floor)
        shock += change * change * share
    return -min(config.alpha_shock_weight * shock, ALPHA_SHOCK_CAP)


def intervention(step: Step) -> float:
    """Charges every op but WAIT."""
    return 0.0 if step.action.op is Op.WAIT else -step.config.intervention_cost


def warnings(step: Step) -> float:
    """Charges for each mistake of this step.

    Mistakes are a rejected action, pruning a seed with a clearly positive contribution and, at the
    end of the episode, each seed that is neither fossilized nor pruned.
    """
    count = _rejected(step) + _useful_pruned(step) + _left_uncommitted(step)
    return -step.config.warning_weight * count


def unmeasured_warnings(step: Step) -> float:
    """Charges for the mistakes that can be seen without counterfactuals."""
    return -step.config.warning_weight * (_rejected(step) + _left_uncommitted(step))


def early_prune(step: Step) -> float:
    """Charges for pruning a seed younger than ``EARLY_AGE``."""
    seed = _pruned(step)
    early = seed is not None and seed.stage in LIVE_STAGES and seed.age < EARLY_AGE
    return -step.config.warning_weight * int(early and not _rejected(step))


def full_rent(report: StepReport, config: RewardConfig) -> float:
    """Returns the rent of all seeds, at least 0.

    rent_weight * ln(1 + grown / host parameters), capped at rent_cap, plus param_penalty_weight
    times the excess of the grown parameters over param_budget, in budgets.
    """
    grown = report.fossil_parameters + report.live_parameters
    share = grown_share(report, grown, config.rent_host_params_floor)
    rent = min(config.rent_weight * math.log1p(share), config.rent_cap)
    excess = clip((grown - config.param_budget) / config.param_budget, 0.0, EXCESS_CAP)
    return rent + config.param_penalty_weight * excess


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
