"""From flags to two runs that differ only in their reward mode, and the devices of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from esper_leyline import TrainingConfig, override, unknown_name
from esper_simic import build_reward, reward_modes
from esper_train.errors import TrainError
from esper_train.evaluation.plan import check_seeds
from esper_train.settings.flags import SettingFlags
from esper_train.settings.given import Given, read_given
from esper_train.settings.options import JUDGING_SEEDS, PPOOptions, SourceOptions
from esper_train.settings.resolve import Plan, plan_ppo, start_draft

BETWEEN = "-vs-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPlan:
    """One of the two runs.

    Attributes:
        mode: Its reward mode, which is also its name.
        devices: Devices it computes on.
    """

    mode: str
    plan: Plan
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DualPlan:
    """Two runs to compare.

    Attributes:
        arms: The arm that is judged, and its baseline.
        seeds: Number of unseen hosts both are evaluated on.
        parallel: Whether they train at the same time, on different devices.
        idle: Devices that neither uses.
    """

    arms: tuple[ArmPlan, ArmPlan]
    seeds: int
    parallel: bool
    idle: tuple[str, ...]

    @property
    def name(self) -> str:
        """The comparison as ``--dual-ab`` takes it: ``A-vs-B``."""
        return BETWEEN.join(arm.mode for arm in self.arms)

    @property
    def order(self) -> str:
        """A line that says how the two are trained."""
        first, second = self.arms
        if self.parallel:
            places = [" ".join(arm.devices) for arm in self.arms]
            rest = f"; {' '.join(self.idle)} stays idle" if self.idle else ""
            how = f"{first.mode} on {places[0]}, {second.mode} on {places[1]}, side by side{rest}"
        else:
            how = f"{first.mode}, then {second.mode}: in turn, on {first.devices[0]} alone"
        return f"A/B: {how}"


def plan_dual(options: PPOOptions) -> DualPlan:
    """Resolves the flags of ``esper-train ppo --dual-ab``.

    Raises:
        EsperError: If a flag is not usable, alone or together with another.
    """
    dual, flags, source = options.dual, options.flags, options.source
    if dual.dual_ab is None:
        raise TrainError("--ab-seeds says how --dual-ab judges; give both, or neither")
    modes = read_pair(dual.dual_ab)
    seeds = JUDGING_SEEDS if dual.ab_seeds is None else dual.ab_seeds
    check_seeds("--ab-seeds", seeds)
    given = read_given(flags, source)
    _check_flags(given, options)
    if "reward.mode" in given.values:
        raise TrainError(
            f"{given.sources['reward.mode']} does not go with --dual-ab, which names both modes"
        )
    shared = plan_ppo(_with_two(source, flags, given), source)
    first, second, idle = split_devices(shared.config)
    arms = (_arm(modes[0], shared, first), _arm(modes[1], shared, second))
    return DualPlan(arms=arms, seeds=seeds, parallel=len(shared.config.devices) > 1, idle=idle)


def read_pair(text: str) -> tuple[str, str]:
    """Reads ``A-vs-B``.

    Raises:
        TrainError: If it is not two different reward modes.
    """
    parts = text.split(BETWEEN)
    form = f"write A{BETWEEN}B, such as shaped{BETWEEN}simplified"
    if len(parts) != 2 or not all(parts):
        raise TrainError(
            f"--dual-ab '{text}' does not name two reward modes; {form}, "
            f"of the modes {', '.join(reward_modes())}"
        )
    for mode in parts:
        if mode not in reward_modes():
            raise TrainError(
                f"--dual-ab '{text}': {unknown_name('reward mode', mode, reward_modes())}"
            )
    first, second = parts
    if first == second:
        raise TrainError(
            f"--dual-ab '{text}' compares a reward mode with itself; {form}, two different ones "
            f"of {', '.join(reward_modes())}"
        )
    return first, second


def split_devices(
    config: TrainingConfig,
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Returns the devices of the first run, those of the second, and those left over."""
    half = len(config.devices) // 2
    if half == 0:
        alone = (config.device or "cpu",)
        return alone, alone, ()
    return config.devices[:half], config.devices[half : 2 * half], config.devices[2 * half :]


def _check_flags(given: Given, options: PPOOptions) -> None:
    checkpoints, telemetry = options.checkpoints, options.telemetry
    refused: Mapping[str, tuple[object, str]] = {
        "--resume": (checkpoints.resume, "it starts two runs; resume each of them separately"),
        "--save": (checkpoints.save, "it trains two policies, each kept in its run directory"),
        "--telemetry-file": (telemetry.telemetry_file, "it has two logs; use --telemetry-dir"),
    }
    for flag, (value, reason) in refused.items():
        if value is not None:
            raise TrainError(f"{flag} {value} does not go with --dual-ab: {reason}")
    if telemetry.sanctum:
        raise TrainError(
            "--sanctum does not go with --dual-ab: it shows one run; while both train, look at one "
            "with: uv run esper-overwatch tui"
        )
    device = given.values.get("device")
    if given.sources.get("device") == "--device" and "devices" in given.values:
        raise TrainError(
            f"--device {device} does not go with --dual-ab and --devices: each policy "
            "computes on the first device of its own half; leave --device out"
        )


def _with_two(source: SourceOptions, flags: SettingFlags, given: Given) -> SettingFlags:
    """Uses two GPUs if there are two and none was named."""
    base = start_draft(source, given.task).config
    named = "device" in given.values or "devices" in given.values
    if torch.cuda.device_count() < 2 or named or base.device is not None or base.devices:
        return flags
    changes: dict[str, Any] = {"devices": ["cuda:0", "cuda:1"]}
    return replace(flags, **changes)


def _arm(mode: str, shared: Plan, devices: tuple[str, ...]) -> ArmPlan:
    changes = {
        "reward": {"mode": mode},
        "device": devices[0],
        "devices": list(devices) if len(devices) > 1 else [],
    }
    config = override(shared.config, changes)
    # Built here, so that an invalid reward is reported before any training.
    build_reward(config.reward, gamma=config.ppo.gamma)
    return ArmPlan(mode=mode, plan=replace(shared, config=config), devices=devices)
