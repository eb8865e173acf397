"""Potential-based shaping (Ng, Harada and Russell 1999) over the seeds' stages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from esper_leyline import RewardConfig, SeedReport, SeedStage, StepReport
from esper_simic.rewards.step import Step

STAGE_POTENTIAL: Mapping[SeedStage, float] = MappingProxyType(
    {
        SeedStage.GERMINATED: 1.0,
        SeedStage.TRAINING: 2.0,
        SeedStage.BLENDING: 3.5,
        SeedStage.HOLDING: 5.5,
        SeedStage.FOSSILIZED: 6.0,
    }
)
"""Potential of each stage; all other stages have 0."""


def potential(report: StepReport, config: RewardConfig) -> float:
    """Returns the potential of a state; 0 after the end of its episode.

    It is the sum over seeds of the stage's potential and, up to a cap, a bonus per epoch in that
    stage. It depends on the report only, so a loop of actions earns nothing in total.
    """
    if report.ended is not None:
        return 0.0
    return sum(_seed_potential(seed, config) for seed in report.seeds)


def shaping(step: Step) -> float:
    """Returns weight * (gamma * potential(current) - potential(previous)).

    Over T steps the discounted sum is weight * (gamma^T potential(last) - potential(first)).
    """
    config = step.config
    after, before = potential(step.current, config), potential(step.previous, config)
    return config.shaping_weight * (step.gamma * after - before)


def _seed_potential(seed: SeedReport, config: RewardConfig) -> float:
    stage = STAGE_POTENTIAL.get(seed.stage)
    if stage is None:
        return 0.0
    bonus = config.shaping_epoch_bonus * max(seed.epochs_in_stage, 0)
    return stage + min(bonus, config.shaping_epoch_cap)
