"""From flags to one whole configuration, with a reason for every choice made for the user."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from esper_leyline import (
    ConfigError,
    TaskSpec,
    TrainingConfig,
    check_slots,
    override,
    preset,
    read_config,
)
from esper_tolaria import check_feed, check_workers, get_task
from esper_train.compiling import choose_compilation
from esper_train.errors import TrainError
from esper_train.options import (
    CheckpointOptions,
    ComputeOptions,
    ConfigOptions,
    HeuristicOptions,
    LearnerOptions,
    ScaleOptions,
    SpreadOptions,
    TelemetryOptions,
)

GPU_PRESET = "cifar10"
CPU_PRESET = "mnist1d_blind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A resolved run.

    Attributes:
        config: The whole configuration, nothing left to defaults of the machine.
        task: The task it names.
        notes: One line for each choice that the user did not make.
        compile_mode: How ``torch.compile`` compiles a learner's update; ``None``: not at all.
    """

    config: TrainingConfig
    task: TaskSpec
    notes: tuple[str, ...]
    compile_mode: str | None = None


def plan_ppo(
    scale: ScaleOptions,
    config: ConfigOptions,
    hardware: ComputeOptions,
    telemetry: TelemetryOptions,
    *,
    checkpoints: CheckpointOptions | None = None,
) -> Plan:
    """Resolves the flags of ``esper-train ppo``.

    Raises:
        EsperError: If a flag, a config value, a task or a slot is not usable.
    """
    base, note = base_config(config)
    annealing, annealing_note = _annealing(base, scale.entropy_anneal_episodes)
    changes = _given(
        task=config.task,
        seed=config.seed,
        slots=config.slots,
        max_seeds=config.max_seeds,
        n_episodes=scale.rounds,
        n_envs=scale.envs,
        max_epochs=scale.episode_length,
        ppo=_given(epochs=scale.ppo_epochs, **annealing),
        policy=_given(memory_size=scale.memory_size),
        checkpoints=_checkpoints(checkpoints),
    )
    notes = (note, annealing_note)
    return _with_learner(finish_plan(_override(base, changes), hardware, telemetry, notes))


def plan_resume(
    saved: TrainingConfig,
    scale: ScaleOptions,
    config: ConfigOptions,
    hardware: ComputeOptions,
    telemetry: TelemetryOptions,
    *,
    checkpoints: CheckpointOptions | None = None,
) -> Plan:
    """Resolves the flags of ``esper-train ppo --resume``.

    Only what does not change the learner may differ from the checkpoint's own config:
    the number of rounds, the device, the folder of the data and the telemetry.

    Raises:
        EsperError: If another flag is given.
    """
    fixed = {
        "--preset": config.preset,
        "--config-json": config.config_json,
        "--task": config.task,
        "--seed": config.seed,
        "--slots": config.slots,
        "--max-seeds": config.max_seeds,
        "--envs": scale.envs,
        "--episode-length": scale.episode_length,
        "--ppo-epochs": scale.ppo_epochs,
        "--memory-size": scale.memory_size,
        "--amp": hardware.amp or None,
        "--amp-dtype": hardware.amp_dtype,
        "--entropy-anneal-episodes": scale.entropy_anneal_episodes,
    }
    for flag, value in fixed.items():
        if value is not None:
            raise TrainError(
                f"{flag} cannot change with --resume, which goes on with the checkpoint's own "
                "config; allowed: --rounds, --save, the flags of hardware, data and telemetry"
            )
    changes = _given(n_episodes=scale.rounds, checkpoints=_checkpoints(checkpoints))
    return _with_learner(finish_plan(_override(saved, changes), hardware, telemetry, ()))


def plan_resolved(config: TrainingConfig) -> Plan:
    """Returns the plan of a PPO run whose configuration leaves nothing open.

    Raises:
        EsperError: If it is not usable.
    """
    return _with_learner(Plan(config=config, task=get_task(config.task), notes=()))


def plan_heuristic(
    options: HeuristicOptions, hardware: ComputeOptions, telemetry: TelemetryOptions
) -> Plan:
    """Resolves the flags of ``esper-train heuristic``.

    Raises:
        EsperError: If a flag, a task or a slot is not usable.
    """
    name, note = options.task, None
    if name is None:
        name, why = default_preset()
        note = f"task {name}: {why}"
    training = get_task(name).training.model_dump(mode="json")
    changes = _given(
        task=name,
        seed=options.seed,
        slots=options.slots,
        max_seeds=options.max_seeds,
        n_episodes=options.episodes,
        n_envs=1,
        max_epochs=options.max_epochs,
        host={**training, "max_batches": options.max_batches},
        heuristic=_given(min_fossilize_improvement=options.min_fossilize_improvement),
    )
    return finish_plan(_override(TrainingConfig(), changes), hardware, telemetry, (note,))


def finish_plan(
    config: TrainingConfig,
    hardware: ComputeOptions,
    telemetry: TelemetryOptions,
    notes: tuple[str | None, ...],
) -> Plan:
    """Settles task, slots, device, precision, data and telemetry of a configuration.

    Raises:
        EsperError: If one of them is not usable.
    """
    task = get_task(config.task)
    flags = _of_all_commands(hardware)
    spread = _spread(config, flags)
    first = spread[0] if spread else config.device
    device, device_note = find_device(hardware.device or first)
    if hardware.amp_dtype is not None and not (hardware.amp or config.amp):
        raise TrainError(
            f"--amp-dtype {hardware.amp_dtype} changes nothing without --amp; give both, or neither"
        )
    changes = _given(
        device=device,
        devices=spread,
        workers=flags.workers,
        feed=_feed(flags),
        compile=_compile(config, flags),
        amp=hardware.amp or None,
        amp_dtype=hardware.amp_dtype,
        data_root=None if hardware.data_root is None else str(hardware.data_root),
        slots=_slots(config, task),
        telemetry=_given(
            level=telemetry.telemetry_level,
            lifecycle_only=telemetry.telemetry_lifecycle_only or None,
        ),
    )
    resolved = _override(config, changes)
    check_feed(resolved.feed, torch.device(device))
    check_workers(resolved.workers, [torch.device(name) for name in resolved.devices or [device]])
    return Plan(config=resolved, task=task, notes=_said(*notes, device_note))


def base_config(options: ConfigOptions) -> tuple[TrainingConfig, str | None]:
    """Returns the config that the other flags of a PPO run change, and why it is that one.

    Raises:
        EsperError: If there is no such preset, or the file cannot be used.
    """
    if options.config_json is not None:
        if options.preset is not None:
            raise TrainError("--preset and --config-json both give a whole config; use one of them")
        return read_config(options.config_json), None
    if options.preset is not None:
        return preset(options.preset), None
    if options.task is not None:
        # A task without a preset of its own name takes the defaults of the reference.
        try:
            return preset(options.task), f"preset {options.task}: the one named like the task"
        except ConfigError:
            return TrainingConfig(), None
    name, why = default_preset()
    return preset(name), f"preset {name}: {why}"


def find_device(wanted: str | None) -> tuple[str, str | None]:
    """Returns the device to train on, and why where nobody wanted one.

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
    """Settles whether the run's policy is compiled."""
    mode, note = choose_compilation(plan.config.compile, plan.config.device or "cpu")
    return replace(plan, notes=plan.notes + _said(note), compile_mode=mode)


def _said(*notes: str | None) -> tuple[str, ...]:
    return tuple(note for note in notes if note is not None)


def _of_all_commands(hardware: ComputeOptions) -> LearnerOptions:
    """Returns the flags of every command; those that this one has not got are not given."""
    given = {each.name: getattr(hardware, each.name) for each in fields(hardware)}
    return LearnerOptions(**given)


def _spread(config: TrainingConfig, hardware: SpreadOptions) -> list[str]:
    """Returns the devices to spread hosts over; none where there is one device only."""
    given = hardware.devices
    if given is not None and hardware.device is not None and hardware.device not in given:
        raise TrainError(
            f"--device {hardware.device} is none of --devices {' '.join(given)}; the policy "
            "computes on one of the hosts' devices, so name one of them, or leave --device out"
        )
    if given is None and hardware.device is not None:
        return []  # one device was asked for, whatever the config spreads over
    return [find_device(name)[0] for name in (config.devices if given is None else given)]


def _feed(hardware: SpreadOptions) -> dict[str, Any]:
    return _given(
        num_workers=hardware.num_workers,
        gpu_preload=hardware.gpu_preload or None,
        gpu_preload_gather=hardware.experimental_gpu_preload_gather or None,
    )


def _checkpoints(options: CheckpointOptions | None) -> dict[str, Any]:
    if options is None:
        return {}
    return _given(
        every=options.checkpoint_every,
        minutes=options.checkpoint_minutes,
        keep=options.checkpoint_keep,
    )


def _compile(config: TrainingConfig, hardware: LearnerOptions) -> dict[str, Any]:
    """Lets either flag overrule both of a config's settings: together they are one wish."""
    mode, force = hardware.compile_mode, hardware.force_compile
    if mode is None and not force:
        return {}
    if mode is None:
        mode = "default" if config.compile.mode == "off" else config.compile.mode
    return {"mode": mode, "force": force}


def _annealing(base: TrainingConfig, episodes: int | None) -> tuple[dict[str, Any], str | None]:
    """Settles where the entropy bonus falls to, which the flag alone does not say."""
    changes = _given(entropy_anneal_episodes=episodes)
    ppo = base.ppo
    if not episodes or ppo.entropy_final is not None:
        return changes, None
    changes["entropy_final"] = ppo.entropy_coefficient / 2
    note = (
        f"entropy bonus {ppo.entropy_coefficient:g} to {changes['entropy_final']:g}: "
        "half, as the config names no ppo.entropy_final"
    )
    return changes, note


def default_preset() -> tuple[str, str]:
    """Returns the preset, and the task of its name, for who asked for none, and why it is that."""
    if torch.cuda.is_available():
        return GPU_PRESET, "the default where there is a CUDA GPU"
    return CPU_PRESET, f"no CUDA GPU here (with one the default is {GPU_PRESET})"


def _slots(config: TrainingConfig, task: TaskSpec) -> tuple[str, ...]:
    try:
        return check_slots(config.slots or task.slots, task.host.slots)
    except ValueError as error:
        raise TrainError(f"task '{task.name}': {error}") from None


def _override(config: TrainingConfig, changes: dict[str, Any]) -> TrainingConfig:
    """Applies flags to a config, naming the flag where its value does not fit."""
    try:
        return override(config, changes)
    except ConfigError as error:
        message = str(error)
        for key, flag in _FLAGS.items():
            message = message.replace(f"'{key}'", flag)
        raise TrainError(message) from None


_FLAGS = {
    "checkpoints.every": "--checkpoint-every",
    "checkpoints.minutes": "--checkpoint-minutes",
    "checkpoints.keep": "--checkpoint-keep",
    "workers": "--workers",
    "n_episodes": "--rounds (--episodes)",
    "n_envs": "--envs",
    "max_epochs": "--episode-length (--max-epochs)",
    "ppo.epochs": "--ppo-epochs",
    "policy.memory_size": "--memory-size",
    "ppo.entropy_anneal_episodes": "--entropy-anneal-episodes",
    "seed": "--seed",
    "max_seeds": "--max-seeds",
    "host.max_batches": "--max-batches",
    "slots": "--slots",
}


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
