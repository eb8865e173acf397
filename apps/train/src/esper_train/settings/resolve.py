"""From flags, files and presets to one whole configuration.

Defaults, a preset or a file, then the user's settings, then what is left to the task and the
machine: each is a layer of a ``Draft``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from esper_kasmina import why_unfit
from esper_leyline import CheckpointManifest, TaskSpec, TrainingConfig, check_slots, read_config
from esper_nissa import SINKS
from esper_simic import build_reward, check_minibatches
from esper_tolaria import check_environment, find_preset, find_task, preset_names
from esper_train.errors import TrainError
from esper_train.measurements import check_profile
from esper_train.settings.draft import Draft
from esper_train.settings.flags import SettingFlags
from esper_train.settings.given import read_given
from esper_train.settings.machine import (
    choose_compilation,
    default_preset,
    settle_compilation,
    settle_devices,
)
from esper_train.settings.options import HEURISTIC_DEFAULTS, SetOptions, SourceOptions
from esper_train.settings.resume import check_resumable, check_rounds_left, describe_changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A resolved run.

    Attributes:
        config: The whole configuration, nothing left to defaults of the machine.
        task: The task it names.
        notes: One line for each choice that the user did not make.
        compile_mode: Mode of ``torch.compile`` for a learner's update; ``None``: not compiled.
        origins: Where the values of the configuration come from, as in a ``Draft``.
    """

    config: TrainingConfig
    task: TaskSpec
    notes: tuple[str, ...] = ()
    compile_mode: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)


def plan_ppo(flags: SettingFlags, source: SourceOptions) -> Plan:
    """Resolves the flags of ``esper-train ppo``.

    Raises:
        EsperError: If a flag, a config value, a task or a slot is not usable.
    """
    given = read_given(flags, source)
    draft = _settle_annealing(start_draft(source, given.task).give(given))
    return _with_learner(finish_plan(draft))


def plan_resume(
    manifest: CheckpointManifest,
    flags: SettingFlags,
    source: SourceOptions,
    *,
    path: Path,
    config: TrainingConfig | None = None,
) -> Plan:
    """Resolves the flags of ``esper-train ppo --resume PATH``.

    Only settings of ``RESUMABLE`` may differ from the config in the checkpoint's manifest.

    Args:
        manifest: The checkpoint's manifest.
        flags: The user's settings.
        source: Must be empty.
        path: The checkpoint.
        config: The configuration of the run since then, if it is not the manifest's.

    Raises:
        EsperError: If another setting is given, or no round is left to train.
    """
    plan = plan_restart(config or manifest.config, flags, source, origin=f"checkpoint {path}")
    check_rounds_left(path, manifest, plan.config.n_episodes)
    return plan


def plan_restart(
    config: TrainingConfig, flags: SettingFlags, source: SourceOptions, *, origin: str
) -> Plan:
    """Resolves the flags of a run that continues with the configuration that it had.

    Args:
        config: That configuration.
        flags: The user's settings; only those of ``RESUMABLE`` may change.
        source: Must be empty.
        origin: What holds the configuration.

    Raises:
        EsperError: If another setting is given.
    """
    given = read_given(flags, source)
    check_resumable(given, source)
    draft = _settle_annealing(Draft.start(config, origin).give(given))
    plan = _with_learner(finish_plan(draft))
    changes = describe_changes(config, plan.config, given)
    return replace(plan, notes=changes + plan.notes)


def plan_resolved(config: TrainingConfig) -> Plan:
    """Returns the plan of a PPO run whose configuration leaves nothing open.

    Raises:
        EsperError: If it is not usable.
    """
    return _with_learner(Plan(config=config, task=find_task(config.task).spec))


def plan_heuristic(flags: SettingFlags, options: SetOptions) -> Plan:
    """Resolves the flags of ``esper-train heuristic``.

    Raises:
        EsperError: If a flag, a task or a slot is not usable.
    """
    given, draft = read_given(flags, options), Draft()
    task = given.task
    if task is None:
        task, why = default_preset()
        draft = draft.set({"task": task}, "this machine", f"task {task}: {why}")
    draft = draft.with_host(task).set(HEURISTIC_DEFAULTS, "esper-train heuristic")
    return finish_plan(draft.give(given))


def start_draft(source: SourceOptions, task: str | None = None) -> Draft:
    """Returns the configuration that the other flags of a PPO run change.

    Args:
        source: A preset or a file.
        task: The task that the user gave.

    Raises:
        EsperError: If there is no such preset, or the file cannot be used.
    """
    path, preset = source.config_json, source.preset
    if path is not None:
        if preset is not None:
            raise TrainError("--preset and --config-json both give a whole config; use one of them")
        return Draft.start(read_config(path), f"file {path}")
    notes: tuple[str, ...] = ()
    if preset is None and task is None:
        preset, why = default_preset()
        notes = (f"preset {preset}: {why}",)
    elif preset is None and task in preset_names():
        preset, notes = task, (f"preset {task}: the one named like the task",)
    if preset is None:
        return Draft()
    return Draft.start(find_preset(preset), f"preset {preset}", *notes)


def finish_plan(draft: Draft) -> Plan:
    """Sets what a configuration leaves to task and machine: slots, devices, compilation.

    Raises:
        EsperError: If something is not usable.
    """
    task = find_task(draft.config.task).spec
    draft = settle_compilation(settle_devices(draft))
    slots = _slots(draft.config, task)
    if draft.config.slots is None:
        draft = draft.set({"slots": slots}, f"task {task.name}")
    config = draft.config
    _check_precision(draft)
    check_profile(config)
    devices = [torch.device(name) for name in config.devices or [config.device or "cpu"]]
    check_environment(task, config, devices, config.workers)
    _check_plugins(config, task)
    build_reward(config.reward, gamma=config.ppo.gamma)  # refuses parts that a mode lacks
    return Plan(config=config, task=task, notes=draft.notes, origins=draft.origins)


def _settle_annealing(draft: Draft) -> Draft:
    """Sets the final entropy coefficient if only the number of episodes is given."""
    ppo = draft.config.ppo
    asked = "ppo.entropy_anneal_episodes" in draft.given.values and ppo.entropy_anneal_episodes
    if not asked or ppo.entropy_final is not None:
        return draft
    final = ppo.entropy_coefficient / 2
    return draft.set(
        {"ppo.entropy_final": final},
        "half of ppo.entropy_coefficient",
        f"entropy bonus {ppo.entropy_coefficient:g} to {final:g}: "
        "half, as the config names no ppo.entropy_final",
    )


def _with_learner(plan: Plan) -> Plan:
    """Checks the settings of the learner, and decides whether the policy is compiled."""
    check_minibatches(plan.config.n_envs, plan.config.ppo.minibatches)
    mode, note = choose_compilation(plan.config.compile, plan.config.device or "cpu")
    return replace(plan, notes=plan.notes + ((note,) if note else ()), compile_mode=mode)


def _check_precision(draft: Draft) -> None:
    flag = draft.given.sources.get("amp_dtype")
    if flag is not None and not draft.config.amp:
        raise TrainError(
            f"{flag} {draft.config.amp_dtype} changes nothing without --amp; give both, or neither"
        )


def _check_plugins(config: TrainingConfig, task: TaskSpec) -> None:
    """Imports the plugins that a configuration names, before anything is created."""
    for blueprint in config.blueprints or task.blueprints:
        reason = why_unfit(blueprint, task.host.topology)
        if reason is not None:
            raise TrainError(f"task '{task.name}': {reason}")
    for name in config.telemetry.sinks:
        SINKS.get(name)


def _slots(config: TrainingConfig, task: TaskSpec) -> tuple[str, ...]:
    try:
        return check_slots(config.slots or task.slots, task.host.slots)
    except ValueError as error:
        raise TrainError(f"task '{task.name}': {error}") from None
