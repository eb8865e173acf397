"""From flags to one whole configuration, with a note for every choice made for the user."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from esper_kasmina import why_unfit
from esper_leyline import (
    CheckpointManifest,
    TaskSpec,
    TrainingConfig,
    check_slots,
    override,
    read_config,
)
from esper_leyline.config.overrides import flatten_config
from esper_nissa import SINKS
from esper_simic import build_reward, check_minibatches
from esper_tolaria import check_environment, find_preset, find_task, preset_names
from esper_train.errors import TrainError
from esper_train.settings.compiling import choose_compilation
from esper_train.settings.flags import SettingFlags
from esper_train.settings.given import (
    Given,
    apply,
    check_resumable,
    describe_changes,
    nest_keys,
    read_given,
)
from esper_train.settings.options import HEURISTIC_DEFAULTS, SetOptions, SourceOptions

GPU_PRESET = "cifar10"
CPU_PRESET = "mnist1d_blind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The configuration that flags change.

    Attributes:
        config: The configuration.
        source: Its name: ``preset digits``, ``file a.json``, ``checkpoint a.pt``.
        keys: Dotted keys that it sets; all others are defaults.
        note: Why it was chosen, if the user did not choose it.
    """

    config: TrainingConfig
    source: str = "default"
    keys: frozenset[str] = frozenset()
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A resolved run.

    Attributes:
        config: The whole configuration, nothing left to defaults of the machine.
        task: The task it names.
        notes: One line for each choice that the user did not make.
        compile_mode: Mode of ``torch.compile`` for a learner's update; ``None``: not compiled.
        given: The user's settings.
        base: The configuration that they changed.
    """

    config: TrainingConfig
    task: TaskSpec
    notes: tuple[str, ...]
    compile_mode: str | None = None
    given: Given = field(default_factory=Given)
    base: Base = field(default_factory=lambda: Base(config=TrainingConfig()))


def plan_ppo(flags: SettingFlags, source: SourceOptions) -> Plan:
    """Resolves the flags of ``esper-train ppo``.

    Raises:
        EsperError: If a flag, a config value, a task or a slot is not usable.
    """
    given = read_given(flags, source)
    base = base_config(source, given.task)
    settled, annealing_note = _settle_annealing(apply(base.config, given), given)
    plan = finish_plan(settled, given, (base.note, annealing_note))
    return _with_learner(replace(plan, base=base))


def plan_resume(
    manifest: CheckpointManifest, flags: SettingFlags, source: SourceOptions, *, path: Path
) -> Plan:
    """Resolves the flags of ``esper-train ppo --resume PATH``.

    Only settings of ``RESUMABLE`` may differ from the config in the checkpoint's manifest.

    Raises:
        EsperError: If another setting is given, or no round is left to train.
    """
    for flag, value in (("--preset", source.preset), ("--config-json", source.config_json)):
        if value is not None:
            raise TrainError(
                f"{flag} {value} does not go with --resume, which goes on with the config of the "
                "checkpoint; change single settings by flags or by --set"
            )
    given = read_given(flags, source)
    check_resumable(given)
    settled, annealing_note = _settle_annealing(apply(manifest.config, given), given)
    _check_rounds_left(path, manifest.rounds_completed, settled.n_episodes)
    plan = finish_plan(settled, given, (annealing_note,))
    changes = describe_changes(manifest.config, plan.config, given)
    keys = frozenset(flatten_config(manifest.config.model_dump(mode="json")))
    base = Base(config=manifest.config, source=f"checkpoint {path}", keys=keys)
    return _with_learner(replace(plan, notes=changes + plan.notes, base=base))


def _check_rounds_left(path: Path, done: int, wanted: int) -> None:
    if wanted <= done:
        rounds = "1 round" if done == 1 else f"{done} rounds"
        raise TrainError(f"checkpoint '{path}' has {rounds} done; give --rounds more than {done}")


def plan_resolved(config: TrainingConfig) -> Plan:
    """Returns the plan of a PPO run whose configuration leaves nothing open.

    Raises:
        EsperError: If it is not usable.
    """
    return _with_learner(Plan(config=config, task=find_task(config.task).spec, notes=()))


def plan_heuristic(flags: SettingFlags, options: SetOptions) -> Plan:
    """Resolves the flags of ``esper-train heuristic``.

    Raises:
        EsperError: If a flag, a task or a slot is not usable.
    """
    given = read_given(flags, options)
    name, note = given.task, None
    if name is None:
        name, why = default_preset()
        note = f"task {name}: {why}"
    base = override(TrainingConfig(), {"task": name})
    training = find_task(base.task).spec.training.model_dump(mode="json")
    base = override(base, nest_keys({"host": training}))
    base = override(base, nest_keys(HEURISTIC_DEFAULTS))
    return finish_plan(apply(base, given), given, (note,))


def finish_plan(config: TrainingConfig, given: Given, notes: tuple[str | None, ...] = ()) -> Plan:
    """Sets what a configuration leaves to task and machine: slots, devices, compilation.

    Args:
        config: The configuration with the user's settings.
        given: The user's settings.
        notes: Notes on choices made so far.

    Raises:
        EsperError: If something is not usable.
    """
    task = find_task(config.task).spec
    spread = _spread(config, given)
    first = spread[0] if spread and "device" not in given.values else config.device
    device, device_note = find_device(first)
    if "amp_dtype" in given.values and not config.amp:
        raise TrainError(
            f"{given.sources['amp_dtype']} {config.amp_dtype} changes nothing without --amp; "
            "give both, or neither"
        )
    changes = {
        "device": device,
        "devices": spread,
        "compile": _compile(config, given),
        "slots": _slots(config, task),
    }
    resolved = override(config, changes)
    places = [torch.device(name) for name in resolved.devices or [device]]
    check_environment(task, resolved, places, resolved.workers)
    _check_plugins(resolved, task)
    build_reward(resolved.reward, gamma=resolved.ppo.gamma)  # refuses parts that a mode lacks
    return Plan(config=resolved, task=task, notes=_without_none(*notes, device_note), given=given)


def _check_plugins(config: TrainingConfig, task: TaskSpec) -> None:
    """Imports the plugins that a configuration names, before anything is created."""
    for blueprint in config.blueprints or task.blueprints:
        reason = why_unfit(blueprint, task.host.topology)
        if reason is not None:
            raise TrainError(f"task '{task.name}': {reason}")
    for name in config.telemetry.sinks:
        SINKS.get(name)


def base_config(source: SourceOptions, task: str | None = None) -> Base:
    """Returns the configuration that the other flags of a PPO run change.

    Args:
        source: A preset or a file.
        task: The task that the user gave.

    Raises:
        EsperError: If there is no such preset, or the file cannot be used.
    """
    path = source.config_json
    if path is not None:
        if source.preset is not None:
            raise TrainError("--preset and --config-json both give a whole config; use one of them")
        config = read_config(path)
        return Base(config=config, source=f"file {path}", keys=_set_keys(config))
    if source.preset is not None:
        return _preset(source.preset)
    if task is None:
        name, why = default_preset()
        return _preset(name, f"preset {name}: {why}")
    if task in preset_names():
        return _preset(task, f"preset {task}: the one named like the task")
    return Base(config=TrainingConfig())


def _preset(name: str, note: str | None = None) -> Base:
    config = find_preset(name)
    return Base(config=config, source=f"preset {name}", keys=_set_keys(config), note=note)


def _set_keys(config: TrainingConfig) -> frozenset[str]:
    """Returns the dotted keys that were given to build a configuration."""
    return frozenset(flatten_config(config.model_dump(mode="json", exclude_unset=True)))


def find_device(wanted: str | None) -> tuple[str, str | None]:
    """Returns the device to train on, and the reason where none was named.

    Raises:
        TrainError: If the wanted one is not here.
    """
    if wanted is None:
        if torch.cuda.is_available():
            return "cuda:0", "device cuda:0: the default where there is a CUDA GPU"
        return "cpu", "device cpu: no CUDA GPU here"
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    allowed = ["cpu", *gpus]
    name = "cuda:0" if wanted == "cuda" and gpus else wanted
    if name not in allowed:
        raise TrainError(f"device '{wanted}' is not here; available: {', '.join(allowed)}")
    return name, None


def _with_learner(plan: Plan) -> Plan:
    """Checks the settings of the learner, and decides whether the policy is compiled."""
    check_minibatches(plan.config.n_envs, plan.config.ppo.minibatches)
    mode, note = choose_compilation(plan.config.compile, plan.config.device or "cpu")
    return replace(plan, notes=plan.notes + _without_none(note), compile_mode=mode)


def _without_none(*notes: str | None) -> tuple[str, ...]:
    return tuple(note for note in notes if note is not None)


def _spread(config: TrainingConfig, given: Given) -> list[str]:
    """Returns the devices to spread hosts over; none if there is only one device."""
    one, several = (name in given.values for name in ("device", "devices"))
    if one and several and config.device not in config.devices:
        raise TrainError(
            f"{given.sources['device']} {config.device} is none of {given.sources['devices']} "
            f"{' '.join(config.devices)}; the policy computes on one of the hosts' devices, so "
            "name one of them, or leave the first out"
        )
    if one and not several:
        return []  # one device was asked for, whatever the config spreads over
    return [find_device(name)[0] for name in config.devices]


def _compile(config: TrainingConfig, given: Given) -> dict[str, object]:
    """Lets each of the two flags override both settings of a config, mode and force."""
    mode, force = (key in given.values for key in ("compile.mode", "compile.force"))
    if mode and not force:
        return {"force": False}
    if force and config.compile.force and not mode and config.compile.mode == "off":
        return {"mode": "default"}
    return {}


def _settle_annealing(config: TrainingConfig, given: Given) -> tuple[TrainingConfig, str | None]:
    """Sets the final entropy coefficient if only the number of episodes is given."""
    ppo = config.ppo
    if "ppo.entropy_anneal_episodes" not in given.values or ppo.entropy_anneal_episodes == 0:
        return config, None
    if ppo.entropy_final is not None:
        return config, None
    final = ppo.entropy_coefficient / 2
    note = (
        f"entropy bonus {ppo.entropy_coefficient:g} to {final:g}: "
        "half, as the config names no ppo.entropy_final"
    )
    return override(config, {"ppo": {"entropy_final": final}}), note


def default_preset() -> tuple[str, str]:
    """Returns the default preset, named like its task, and the reason."""
    if torch.cuda.is_available():
        return GPU_PRESET, "the default where there is a CUDA GPU"
    return CPU_PRESET, f"no CUDA GPU here (with one the default is {GPU_PRESET})"


def _slots(config: TrainingConfig, task: TaskSpec) -> tuple[str, ...]:
    try:
        return check_slots(config.slots or task.slots, task.host.slots)
    except ValueError as error:
        raise TrainError(f"task '{task.name}': {error}") from None
