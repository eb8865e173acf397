"""From flags to one evaluation: arms, task, hosts and seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from esper_leyline import TaskSpec, TrainingConfig, override
from esper_simic.evaluation import LEAST_PAIRS, RANGE_SIZE, SeedRange, evaluation_seeds
from esper_tolaria import find_preset, find_task
from esper_train.errors import TrainError
from esper_train.evaluation.arms import DEFAULT_ARMS, Arm, CheckpointArm, read_arms
from esper_train.evaluation.scratch import check_scratch
from esper_train.settings.draft import Draft
from esper_train.settings.flags import SettingFlags
from esper_train.settings.given import Given, read_given
from esper_train.settings.machine import default_preset
from esper_train.settings.options import JUDGING_SEEDS, EvaluateOptions
from esper_train.settings.resolve import Plan, finish_plan

LEAST_SEEDS = 2
MOST_SEEDS = 10_000

_HOSTS = ("slots", "max_seeds", "max_epochs", "host", "lifecycle", "governor", "amp", "amp_dtype")
"""Settings that determine how a host grows, whatever the controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """A resolved evaluation.

    Attributes:
        run: The run of its hosts: configuration, task, and notes.
        baseline: Label of the arm that the others are compared with.
        seed_range: The range of the seeds.
        out: Folder of the results.
    """

    run: Plan
    arms: tuple[Arm, ...]
    baseline: str
    rng_seeds: tuple[int, ...]
    seed_range: SeedRange
    greedy: bool
    out: Path


def plan_evaluation(
    options: EvaluateOptions, hosts: SettingFlags, hardware: SettingFlags
) -> EvaluationPlan:
    """Resolves the flags of ``esper-train evaluate``.

    Hosts have the settings that a checkpoint was trained with or, without a checkpoint, those
    of the preset named like the task. On another task than a checkpoint's, hosts keep its
    lifecycle rules and horizon, and take their training settings from the task.

    Args:
        options: Arms and hosts.
        hosts: Settings of the hosts.
        hardware: Settings of the machine.

    Raises:
        EsperError: If a flag, an arm or a checkpoint is not usable.
    """
    _check_numbers(options)
    use = SeedRange(options.range)
    arms = read_arms(DEFAULT_ARMS if options.arms is None else options.arms)
    check_scratch(arms)
    checkpoints = [arm for arm in arms if isinstance(arm, CheckpointArm)]
    given_hosts = read_given(hosts)
    base, note = _base(given_hosts.task, checkpoints)
    change = partial(_change, given=given_hosts, seeds=options.seeds)
    config = change(base)
    _check_checkpoints(checkpoints, config, change)
    run = finish_plan(Draft(config=config, notes=(note,)).give(read_given(hardware)))
    return EvaluationPlan(
        run=run,
        arms=arms,
        baseline=_baseline(options.baseline, arms),
        rng_seeds=evaluation_seeds(options.seeds, first=options.first_seed, use=use),
        seed_range=use,
        greedy=options.policy == "greedy",
        out=options.out or _new_folder(run.task),
    )


def check_seeds(flag: str, seeds: int) -> None:
    """Checks the number of hosts of an arm.

    Raises:
        TrainError: If they are too few to compare, or too many.
    """
    if not LEAST_SEEDS <= seeds <= MOST_SEEDS:
        raise TrainError(
            f"{flag} is {seeds}; give at least {LEAST_SEEDS}, at most {MOST_SEEDS} (a verdict "
            f"takes {LEAST_PAIRS}, {JUDGING_SEEDS} are enough for most)"
        )


def _check_numbers(options: EvaluateOptions) -> None:
    check_seeds("--seeds", options.seeds)
    most = RANGE_SIZE - options.seeds
    if options.first_seed > most:
        raise TrainError(
            f"--first-seed is {options.first_seed}; give at most {most}, so that "
            f"{options.seeds} seeds are left in the range '{options.range}'"
        )
    if options.first_seed < 0:
        raise TrainError(f"--first-seed is {options.first_seed}; give at least 0")


def _base(task: str | None, checkpoints: Sequence[CheckpointArm]) -> tuple[TrainingConfig, str]:
    if checkpoints:
        first = checkpoints[0]
        wanted = _wanted(checkpoints, task)
        note = f"hosts: by the settings of checkpoint {first.name}"
        if first.manifest.task != wanted:
            note += f", trained on task {first.manifest.task}; training as task {wanted} has it"
        return _moved(first.manifest.config, wanted), note
    if task is not None:
        name, why = find_task(task).spec.name, "the one named like the task"
    else:
        name, why = default_preset()
    return find_preset(name), f"hosts: by the settings of preset {name}: {why}"


def _change(config: TrainingConfig, *, given: Given, seeds: int) -> TrainingConfig:
    """Applies the flags that decide how hosts are trained."""
    config = Draft(config=config).give(given).config
    changes = {
        "n_envs": min(config.n_envs, seeds),
        # Explicit, so that checkpoints with and without explicit slots compare equal.
        "slots": list(config.slots or find_task(config.task).spec.slots),
        # A checkpoint may come from a machine with another device.
        "device": None,
        "devices": [],
    }
    return override(config, changes)


def _wanted(checkpoints: Sequence[CheckpointArm], task: str | None) -> str:
    """Names the task to evaluate checkpoints on."""
    first = checkpoints[0]
    if task is not None:
        return find_task(task).spec.name
    for arm in checkpoints:
        if arm.manifest.task != first.manifest.task:
            raise TrainError(
                f"checkpoint '{arm.name}' was trained on task '{arm.manifest.task}', "
                f"'{first.name}' on '{first.manifest.task}'; choose one with --task"
            )
    return first.manifest.task


def _moved(config: TrainingConfig, wanted: str) -> TrainingConfig:
    """Returns a configuration for another task: its training, and the same slots if it has them."""
    if config.task == wanted:
        return config
    task, slots = find_task(wanted).spec, config.slots or find_task(config.task).spec.slots
    fitting = list(slots) if set(slots) <= set(task.host.slots) else None
    return override(config, {"task": wanted, "host": None, "slots": fitting})


def _check_checkpoints(
    checkpoints: Sequence[CheckpointArm],
    config: TrainingConfig,
    change: Callable[[TrainingConfig], TrainingConfig],
) -> None:
    for arm in checkpoints:
        _check_fit(arm, config)
        mine = change(_moved(arm.manifest.config, config.task))
        for name in _HOSTS:
            if getattr(mine, name) != getattr(config, name):
                raise TrainError(
                    f"checkpoints '{checkpoints[0].name}' and '{arm.name}' were trained with "
                    f"different settings '{name}', so they need different hosts; "
                    "evaluate them separately"
                )


def _check_fit(arm: CheckpointArm, config: TrainingConfig) -> None:
    """Checks that a policy fits a task that it was not trained on."""
    there, home = find_task(config.task).spec, find_task(arm.manifest.task).spec
    if there.name == home.name:
        return  # loading reports a damaged checkpoint
    slots = config.slots or there.slots
    for what, mine, its in (
        ("hosts", home.host.topology.value, there.host.topology.value),
        ("number of slots", len(arm.manifest.slots), len(slots)),
    ):
        if mine != its:
            raise TrainError(
                f"checkpoint '{arm.name}' was trained on task '{home.name}' with {what} {mine}, "
                f"task '{there.name}' has {what} {its}; choose a task with the same"
            )


def _baseline(wanted: str | None, arms: Sequence[Arm]) -> str:
    if wanted is None:
        return arms[0].label
    for arm in arms:
        if wanted in (arm.name, arm.label):
            return arm.label
    allowed = ", ".join(arm.label for arm in arms)
    raise TrainError(f"--baseline is '{wanted}', which is none of the arms; allowed: {allowed}")


def _new_folder(task: TaskSpec) -> Path:
    moment = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return Path("evaluations") / f"{moment}-{task.name}"
