"""Plays the arms of an evaluation, compares them, and writes the results."""

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

from esper_karn import echo
from esper_kasmina import build_host
from esper_leyline import override, write_atomically
from esper_leyline.files.paths import check_file_of, create_folders, remove_empty
from esper_leyline.ports import HostFactory
from esper_simic import build_reward
from esper_simic.evaluation import (
    ArmResult,
    EvaluationResults,
    FlopCounter,
    Resampling,
    compare_arms,
    play_arm,
    summarize_arm,
)
from esper_tolaria import build_environment
from esper_train.errors import TrainError
from esper_train.evaluation.arms import Arm, CheckpointArm, ScratchArm
from esper_train.evaluation.bill import training_bill
from esper_train.evaluation.plan import EvaluationPlan
from esper_train.evaluation.scratch import GrownHosts, flop_counter, model_of, training_epochs
from esper_train.evaluation.table import origin
from esper_train.interrupts import StopRequest
from esper_train.measurements import required_measurements

RESULTS = "evaluation.json"
PICTURE = "evaluation.png"


def play_arms(plan: EvaluationPlan, stop: StopRequest) -> tuple[ArmResult, ...] | None:
    """Plays all arms on the same hosts; returns ``None`` if it was stopped.

    Arms from scratch are played last, because they start from the networks of the others.
    """
    try:
        with stop.breakable():
            return _play_all(plan, stop)
    except KeyboardInterrupt:
        return None


def _play_all(plan: EvaluationPlan, stop: StopRequest) -> tuple[ArmResult, ...] | None:
    flops = flop_counter(plan.run.task, plan.run.config)
    from_scratch = [arm for arm in plan.arms if isinstance(arm, ScratchArm)]
    others = [arm for arm in plan.arms if arm not in from_scratch]
    horizon = plan.run.config.max_epochs
    play = partial(_play, plan, flops=flops, stop=stop)
    whole = dict.fromkeys(plan.rng_seeds, horizon)
    played = play(others, build_host, epochs=whole) if others else []
    for arm in from_scratch:
        if played is None:
            return None
        model = model_of(arm, plan.arms, played)
        epochs = training_epochs(arm, model, flops, horizon)
        echo(f"{arm.label}: hosts are {origin(model.label, arm.budget, epochs.values())}")
        found = play([arm], GrownHosts.like(model), epochs=epochs)
        if found is None:
            return None
        known = {"copied": model.label, "budget": arm.budget}
        played += [each.model_copy(update=known) for each in found]
    if played is None:
        return None
    order = [arm.label for arm in plan.arms]
    return tuple(sorted(played, key=lambda each: order.index(each.label)))


def _play(
    plan: EvaluationPlan,
    arms: Sequence[Arm],
    hosts: HostFactory,
    *,
    flops: FlopCounter,
    stop: StopRequest,
    epochs: Mapping[int, int],
) -> list[ArmResult] | None:
    # Episodes are as long as the longest of them. Training does not depend on the horizon, so
    # a host that is evaluated earlier is as it would be if its episode had ended there.
    config = override(plan.run.config, {"max_epochs": max(epochs.values())})
    run = replace(plan.run, config=config)
    reward = build_reward(config.reward, gamma=config.ppo.gamma)
    environment = build_environment(
        run.task, config, hosts, requires=required_measurements(config, reward)
    )
    echo(f"plan: {environment.plan}")
    try:
        prepared = [(arm, arm.prepare(environment.spec, run, greedy=plan.greedy)) for arm in arms]
        results = []
        for arm, build in prepared:
            started = perf_counter()
            episodes = play_arm(
                environment,
                build,
                plan.rng_seeds,
                flops=flops,
                epochs=epochs,
                counterfactuals=not isinstance(arm, ScratchArm),
                should_stop=stop,
                on_progress=partial(_print_progress, arm.label, len(plan.rng_seeds), started),
            )
            if episodes is None:
                return None
            found = summarize_arm(arm.name, arm.label, episodes, perf_counter() - started)
            results.append(found.model_copy(update=_training(arm)))
    finally:
        environment.close()
    return results


def _training(arm: Arm) -> dict[str, object]:
    """Returns the fields of ``ArmResult`` that describe how an arm's policy was trained."""
    if not isinstance(arm, CheckpointArm):
        return {}
    return {"trained_on": arm.manifest.task, "bill": training_bill(arm)}


def _print_progress(label: str, hosts: int, started: float, done: int) -> None:
    echo(f"{label}: {done} of {hosts} hosts in {perf_counter() - started:.0f} s")


def collect_results(plan: EvaluationPlan, arms: tuple[ArmResult, ...]) -> EvaluationResults:
    """Compares the arms and returns everything that ``evaluation.json`` stores.

    Raises:
        SimicError: If the arms did not start from the same hosts.
    """
    return EvaluationResults(
        task=plan.run.task.name,
        config=plan.run.config,
        rng_seeds=plan.rng_seeds,
        seed_range=plan.seed_range,
        shared_data=plan.run.task.data.shared,
        augmented=not (plan.run.config.host or plan.run.task.training).augmentation.changes_nothing,
        policy="greedy" if plan.greedy else "sampled",
        baseline=plan.baseline,
        confidence=Resampling().confidence,
        arms=arms,
        comparisons=compare_arms(arms, plan.baseline),
        notes=plan.run.notes,
        versions={"python": platform.python_version(), "torch": str(torch.__version__)},
    )


@contextmanager
def results_folder(out: Path) -> Iterator[None]:
    """Creates a folder for results, and removes it again if it stays empty.

    Raises:
        TrainError: If results cannot be written there; raised before the work, not after it.
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


def write_results(results: EvaluationResults, out: Path) -> None:
    """Writes the results and their picture.

    Raises:
        TrainError: If they cannot be written.
    """
    # Imported here because matplotlib is large and needed for nothing else.
    from esper_train.evaluation.plot import draw

    try:
        write_atomically(out / RESULTS, f"{results.model_dump_json(indent=2)}\n".encode())
        write_atomically(out / PICTURE, draw(results))
    except OSError as error:
        raise TrainError(f"cannot write results to {out}: {error.strerror}") from None
