"""``esper-train evaluate``: arms on the same unseen hosts, judged on the test split."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter

import torch

from esper_karn import SafeConsole, echo
from esper_kasmina import build_host
from esper_leyline import HostFactory, create_folders, override, remove_empty, write_atomically
from esper_tolaria import build_environment
from esper_train.data import make_data_ready
from esper_train.errors import TrainError
from esper_train.evaluation.arms import Arm, CheckpointArm, ScratchArm
from esper_train.evaluation.bill import training_bill
from esper_train.evaluation.flops import FlopCounter
from esper_train.evaluation.judge import RESAMPLING, compare_arms, sum_up
from esper_train.evaluation.plan import EvaluationPlan, plan_evaluation
from esper_train.evaluation.play import play_arm
from esper_train.evaluation.results import ArmResult, EvaluationResults
from esper_train.evaluation.scratch import GrownHosts, lifetimes, model_of
from esper_train.evaluation.table import EvaluationTable, origin
from esper_train.interrupts import StopRequest
from esper_train.paths import check_file_of, check_folder_of
from esper_train.settings.options import EvaluateOptions, SpreadOptions

RESULTS = "evaluation.json"
PICTURE = "evaluation.png"


def run_evaluate(*, options: EvaluateOptions, hardware: SpreadOptions) -> int:
    """Evaluates arms, writes and prints the results, and returns the process's exit code."""
    plan = plan_evaluation(options, hardware)
    for note in plan.run.notes:
        echo(note)
    check_folder_of("--out", plan.out)
    make_data_ready(plan.run)
    with results_folder(plan.out), StopRequest() as stop:
        arms = play(plan, stop)
        if arms is None:
            echo("interrupted: there are no results")
            return stop.exit_code
        results = collect(plan, arms)
        write(results, plan.out)
    SafeConsole().print(EvaluationTable(results))
    echo(f"results: {plan.out / RESULTS}, {plan.out / PICTURE}")
    return 0


def play(plan: EvaluationPlan, stop: StopRequest) -> tuple[ArmResult, ...] | None:
    """Lets every arm grow its hosts; returns ``None`` once it was asked to stop.

    Those from scratch come after all others, whose networks they start from.
    """
    try:
        with stop.breakable():
            return _play_all(plan, stop)
    except KeyboardInterrupt:
        return None


def _play_all(plan: EvaluationPlan, stop: StopRequest) -> tuple[ArmResult, ...] | None:
    flops = FlopCounter(plan.run.task, plan.run.config)
    late = [arm for arm in plan.arms if isinstance(arm, ScratchArm)]
    early = [arm for arm in plan.arms if arm not in late]
    epochs = plan.run.config.max_epochs
    whole = dict.fromkeys(plan.seeds, epochs)
    play_on = partial(_play_on, plan, flops=flops, stop=stop)
    played = play_on(early, build_host, lives=whole) if early else []
    for arm in late:
        if played is None:
            return None
        model = model_of(arm, plan.arms, played)
        lives = lifetimes(arm, model, flops, epochs)
        echo(f"{arm.label}: hosts are {origin(model.label, arm.budget, lives.values())}")
        found = play_on([arm], GrownHosts.like(model), lives=lives)
        if found is None:
            return None
        known = {"copied": model.label, "budget": arm.budget}
        played += [each.model_copy(update=known) for each in found]
    if played is None:
        return None
    order = [arm.label for arm in plan.arms]
    return tuple(sorted(played, key=lambda each: order.index(each.label)))


def _play_on(
    plan: EvaluationPlan,
    arms: Sequence[Arm],
    hosts: HostFactory,
    *,
    flops: FlopCounter,
    stop: StopRequest,
    lives: Mapping[int, int],
) -> list[ArmResult] | None:
    # Whole episodes are as long as the longest life. No part of training looks ahead to the
    # end, so a host that is judged before it stands as if the episode had ended there.
    config = override(plan.run.config, {"max_epochs": max(lives.values())})
    run = replace(plan.run, config=config)
    environment = build_environment(run.task, run.config, hosts)
    echo(f"plan: {environment.plan}")
    try:
        prepared = [(arm, arm.prepare(environment.spec, run, greedy=plan.greedy)) for arm in arms]
        results = []
        for arm, build in prepared:
            started = perf_counter()
            episodes = play_arm(
                environment,
                build,
                plan.seeds,
                flops,
                lifetimes=lives,
                counterfactuals=not isinstance(arm, ScratchArm),
                should_stop=stop,
                tell=partial(_tell, arm.label, len(plan.seeds), started),
            )
            if episodes is None:
                return None
            found = sum_up(arm.name, arm.label, episodes, perf_counter() - started)
            results.append(found.model_copy(update=_training(arm)))
    finally:
        environment.close()
    return results


def _training(arm: Arm) -> dict[str, object]:
    """Returns what is known of how an arm's policy was trained."""
    if not isinstance(arm, CheckpointArm):
        return {}
    return {"trained_on": arm.manifest.task, "bill": training_bill(arm)}


def collect(plan: EvaluationPlan, arms: tuple[ArmResult, ...]) -> EvaluationResults:
    """Compares the arms and puts all that was found together.

    Raises:
        TrainError: If the arms did not meet the same hosts.
    """
    return EvaluationResults(
        task=plan.run.task.name,
        config=plan.run.config,
        seeds=plan.seeds,
        seed_range=plan.seed_range,
        shared_data=plan.run.task.data.shared,
        augmented=not (plan.run.config.host or plan.run.task.training).augmentation.changes_nothing,
        policy="greedy" if plan.greedy else "sampled",
        baseline=plan.baseline,
        confidence=RESAMPLING.confidence,
        arms=arms,
        comparisons=compare_arms(arms, plan.baseline),
        notes=plan.run.notes,
        versions={"python": platform.python_version(), "torch": str(torch.__version__)},
    )


@contextmanager
def results_folder(out: Path) -> Iterator[None]:
    """Finds out before the work, not after, that its results cannot be written.

    Where there are none in the end, no empty folder stays behind.
    """
    for path in (out / RESULTS, out / PICTURE):
        check_file_of("--out", path)
    created: tuple[Path, ...] = ()
    try:
        created = create_folders(out)
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        remove_empty(created)
        raise TrainError(f"cannot write to --out {out}: {error.strerror}") from None
    try:
        yield
    finally:
        remove_empty(created)


def write(results: EvaluationResults, out: Path) -> None:
    """Writes the results and their picture.

    Raises:
        TrainError: If they cannot be written.
    """
    # Drawing needs a large library, which nothing else here does.
    from esper_train.evaluation.plot import draw

    try:
        write_atomically(out / RESULTS, f"{results.model_dump_json(indent=2)}\n".encode())
        write_atomically(out / PICTURE, draw(results))
    except OSError as error:
        raise TrainError(f"cannot write results to {out}: {error.strerror}") from None


def _tell(label: str, hosts: int, started: float, done: int) -> None:
    echo(f"{label}: {done} of {hosts} hosts in {perf_counter() - started:.0f} s")
