"""What a run measures on its hosts."""

from __future__ import annotations

from esper_leyline import Measurement, TrainingConfig
from esper_leyline.events import kinds_written, least_level
from esper_leyline.ports import RewardFunction
from esper_leyline.profiles import PROFILES, Profile
from esper_train.errors import TrainError

_KIND = "profile_measured"


def required_measurements(config: TrainingConfig, reward: RewardFunction) -> frozenset[Measurement]:
    """Returns what the reward needs, and what the telemetry level writes."""
    written = "shapley_measured" in kinds_written(config.telemetry)
    return reward.requires | (frozenset({Measurement.SHAPLEY}) if written else frozenset())


def required_profile(config: TrainingConfig) -> Profile | None:
    """Returns what the telemetry profile measures; ``None`` for nothing."""
    return PROFILES[config.telemetry.profile]


def check_profile(config: TrainingConfig) -> None:
    """Checks that what a telemetry profile measures is written to the log.

    Raises:
        TrainError: If the telemetry level does not write it.
    """
    telemetry = config.telemetry
    if required_profile(config) is None or _KIND in kinds_written(telemetry):
        return
    raise TrainError(
        f"telemetry profile '{telemetry.profile}' measures what telemetry level "
        f"'{telemetry.level}' does not write; use --telemetry-level {least_level([_KIND])}, "
        "or --telemetry-profile minimal"
    )
