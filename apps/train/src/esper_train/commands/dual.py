"""``esper-train ppo --dual-ab``: trains two policies, then judges them on the same hosts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from esper_karn import SafeConsole, echo
from esper_leyline import override
from esper_nissa import create_folder
from esper_simic.evaluation import SeedRange, evaluation_seeds
from esper_train.checkpoints.files import load_checkpoint
from esper_train.data import make_data_ready
from esper_train.dual.pairing import DualPlan, plan_dual
from esper_train.dual.training import ArmRun, train_both
from esper_train.dual.verdict import verdict_lines
from esper_train.errors import TrainError
from esper_train.evaluation.arms import CheckpointArm
from esper_train.evaluation.plan import EvaluationPlan
from esper_train.evaluation.run import (
    PICTURE,
    RESULTS,
    collect_results,
    play_arms,
    write_results,
)
from esper_train.evaluation.table import EvaluationTable
from esper_train.interrupts import StopRequest
from esper_train.pages import Pages
from esper_train.paths import check_places
from esper_train.readers import check_readers
from esper_train.session import FAILED
from esper_train.settings.options import PPOOptions, TelemetryOptions
from esper_train.settings.resolve import Plan


def run_dual(options: PPOOptions) -> int:
    """Trains and compares two policies, and returns the process's exit code."""
    telemetry = options.telemetry
    check_places(telemetry)
    plan = plan_dual(options)
    shared = plan.arms[0].plan
    check_readers(telemetry, shared.config)
    for note in shared.notes:
        echo(note)
    make_data_ready(shared)
    pages = Pages(telemetry)
    folder = create_folder(telemetry.runs, f"{shared.task.name}-{plan.name}")
    echo(plan.order)
    echo(f"group: {folder.name}")
    try:
        pages.start(folder)
        with StopRequest() as stop:
            return _run(plan, folder, telemetry, stop)
    finally:
        pages.close()
        if not any(folder.iterdir()):
            folder.rmdir()


def _run(plan: DualPlan, folder: Path, telemetry: TelemetryOptions, stop: StopRequest) -> int:
    runs = train_both(plan, folder.name, telemetry, stop)
    done = len(runs) == 2 and all(run.completed for run in runs)
    if done and _judge(plan, runs, folder, stop):
        return 0
    for line in resume_instructions(plan, runs, folder):
        echo(line)
    return stop.exit_code if stop() else FAILED


def _judge(plan: DualPlan, runs: Sequence[ArmRun], folder: Path, stop: StopRequest) -> bool:
    """Compares the trained policies; returns false if it was interrupted."""
    evaluation = _evaluation(plan, runs, folder)
    echo(f"judging both on the same {plan.seeds} unseen hosts")
    arms = play_arms(evaluation, stop)
    if arms is None:
        return False
    results = collect_results(evaluation, arms)
    write_results(results, folder)
    SafeConsole().print(EvaluationTable(results, seeds_flag="--ab-seeds"))
    for line in verdict_lines(results):
        echo(line)
    for run in runs:
        echo(f"{run.mode}: {run.directory.path}")
    echo(f"results: {folder / RESULTS}, {folder / PICTURE}")
    return True


def _evaluation(plan: DualPlan, runs: Sequence[ArmRun], folder: Path) -> EvaluationPlan:
    shared = plan.arms[0].plan
    hosts = min(shared.config.n_envs, plan.seeds)
    places = [*shared.config.devices][:hosts]
    config = override(shared.config, {"n_envs": hosts, "devices": places})
    return EvaluationPlan(
        run=Plan(config=config, task=shared.task, notes=shared.notes),
        arms=tuple(_policy(run) for run in runs),
        baseline=runs[1].mode,
        rng_seeds=evaluation_seeds(plan.seeds, use=SeedRange.TUNING),
        seed_range=SeedRange.TUNING,
        greedy=False,
        out=folder,
    )


def _policy(run: ArmRun) -> CheckpointArm:
    path = run.checkpoint
    if path is None:
        raise TrainError(f"run '{run.directory.path}' completed without a checkpoint")
    manifest, state = load_checkpoint(Path(path))
    return CheckpointArm(path, run.mode, manifest, state)


def resume_instructions(plan: DualPlan, runs: Sequence[ArmRun], folder: Path) -> Sequence[str]:
    """Says why there is no comparison, and which commands complete it."""
    states = [_state(run) for run in runs]
    states += [f"{arm.mode} was not started" for arm in plan.arms[len(runs) :]]
    lines = [f"no comparison: {'; '.join(states)}"]
    last = [run.checkpoint for run in runs]
    if len(runs) < 2 or any(path is None for path in last):
        return [*lines, "to compare, give the same command again: it starts over"]
    lines += [f"resume with: {run.resume}" for run in runs if not run.completed and run.resume]
    policies = [
        str(run.checkpoint)
        if run.resume is None
        else f"<last checkpoint of the resumed {run.mode}>"
        for run in runs
    ]
    judge = (
        f"uv run esper-train evaluate --arms {shlex.join(policies)} "
        f"--baseline {shlex.quote(policies[1])} --seeds {plan.seeds} "
        f"--out {shlex.quote(str(folder))}"
    )
    return [*lines, f"compare: {judge}"]


def _state(run: ArmRun) -> str:
    if run.summary is None:
        return f"{run.mode} ended without a summary ({run.directory.path})"
    done = len(run.summary.rounds)
    return f"{run.mode} {run.summary.status.value} after {done} round{'s' * (done != 1)}"
