"""What growing costs: parameters, jolts, interventions. Never positive, whatever the op."""

from __future__ import annotations

import math

from esper_leyline import Op, RewardConfig, StepReport
from esper_simic.rewards.measures import alpha_of, clip, grown_share, paired_seeds
from esper_simic.rewards.step import Step

EXCESS_CAP = 5.0
"""Most that exceeding the parameter budget counts, in budgets."""

ALPHA_SHOCK_CAP = 0.5
"""Largest penalty for one step's changes of alpha."""


def rent(step: Step) -> float:
    """Charges an epoch's rent for what has grown."""
    return -(step.epoch_share * full_rent(step.current, step.config))


def alpha_shock(step: Step) -> float:
    """Charges squared changes of alpha, weighted by the seeds' sizes."""
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


def full_rent(report: StepReport, config: RewardConfig) -> float:
    """Returns the rent of a network, live seeds included, at least 0.

    weight * ln(1 + grown / host parameters), capped, and param_penalty_weight for each
    parameter budget by which what has grown exceeds the first.
    """
    grown = report.fossil_parameters + report.live_parameters
    share = grown_share(report, grown, config.rent_host_params_floor)
    due = min(config.rent_weight * math.log1p(share), config.rent_cap)
    excess = clip((grown - config.param_budget) / config.param_budget, 0.0, EXCESS_CAP)
    return due + config.param_penalty_weight * excess
