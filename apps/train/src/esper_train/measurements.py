"""The counterfactuals that a run needs."""

from __future__ import annotations

from esper_leyline import Measurement, TrainingConfig
from esper_leyline.events import kinds_written
from esper_leyline.ports import RewardFunction


def required_measurements(config: TrainingConfig, reward: RewardFunction) -> frozenset[Measurement]:
    """Returns what the reward needs, and what the telemetry level writes."""
    written = "shapley_measured" in kinds_written(config.telemetry)
    return reward.requires | (frozenset({Measurement.SHAPLEY}) if written else frozenset())
