from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from esper_leyline import (
    CheckpointManifest,
    EpisodeEnd,
    RoundSummary,
    RunSummary,
    TrainingConfig,
    observation_size,
    override,
)
from esper_leyline.actions import blueprint_rows
from esper_simic.evaluation import ArmResult, EpisodeResult, EvaluationResults, SeedRange
from esper_tolaria import find_preset

SIZES = ("--envs", "2", "--episode-length", "4", "--memory-size", "16")
BLIND = ("--preset", "mnist1d_blind", *SIZES)
SMALL = (*BLIND, "--workers", "1", "--device", "cpu")
SHARDED = (*BLIND, "--workers", "2", "--device", "cpu")


@dataclass(frozen=True)
class Finished:
    """A run that was made by the real command, and what a process of its own printed."""

    directory: Path
    output: str

    @property
    def summary(self) -> RunSummary:
        return RunSummary.model_validate_json((self.directory / "summary.json").read_text())

    @property
    def results(self) -> list[dict[str, object]]:
        """The rounds without what depends on the clock."""
        return [
            json.loads(summary.model_copy(update={"seconds": 0.0}).model_dump_json())
            for summary in self.summary.rounds
        ]


def command(*arguments: str) -> list[str]:
    script = "import sys; from esper_train import main; sys.exit(main())"
    return [sys.executable, "-c", script, *arguments]


def run(folder: Path, *arguments: str) -> Finished:
    done = subprocess.run(
        command(*arguments, "--runs", str(folder)),
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    (directory,) = folder.iterdir()
    return Finished(directory, done.stdout)


def run_here(folder: Path, *arguments: str) -> Finished:
    """Runs the real command in this process, which takes half as long as in one of its own."""
    from esper_train import main

    assert main([*arguments, "--runs", str(folder), "--no-tui"]) == 0
    (directory,) = folder.iterdir()
    return Finished(directory, "")


@pytest.fixture(scope="session", name="run_here")
def run_here_fixture():
    return run_here


@pytest.fixture(scope="session", name="run")
def run_fixture():
    return run


@pytest.fixture(scope="session", name="command")
def command_fixture():
    return command


def interrupt(arguments: list[str], once: str) -> str:
    """Starts a command, presses Ctrl-C once it says something, and returns what it printed."""
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if line.startswith(once):
            break
    # As a terminal does it: the signal goes to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 130, output + errors
    assert errors == ""
    return "".join(printed) + output


@pytest.fixture(scope="session", name="interrupt")
def interrupt_fixture():
    return interrupt


def manifest_of(
    config: TrainingConfig, *, done: int, slots: tuple[str, ...] = ("r0c0", "r0c1", "r0c2")
) -> CheckpointManifest:
    """The manifest of a run's checkpoint after ``done`` rounds."""
    slots = config.slots or slots
    return CheckpointManifest(
        run_id="20260101-000000-digits-000000",
        task=config.task,
        rounds_completed=done,
        slots=slots,
        observation_size=observation_size(len(slots)),
        policy_parameters=1000,
        torch_version="2.0",
        blueprints=blueprint_rows(config.blueprints or ()),
        config=config,
    )


@pytest.fixture(scope="session", name="manifest_of")
def manifest_of_fixture():
    return manifest_of


@pytest.fixture(scope="session")
def blind() -> tuple[str, ...]:
    """A task and sizes with which a run takes seconds; the computer is left to the defaults."""
    return BLIND


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """The same on the CPU, in one process."""
    return SMALL


@pytest.fixture(scope="session")
def sharded() -> tuple[str, ...]:
    """The same on the CPU, in two worker processes."""
    return SHARDED


@pytest.fixture(scope="session")
def ppo_run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("ppo")
    return run(folder, "ppo", *SMALL, "--rounds", "2")


@pytest.fixture(scope="session", autouse=True)
def signals_are_not_ignored():
    """A caller may ignore them (nohup, a shell's background), here and in all child processes."""
    handlers = {signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


SMALL_CONFIG = {
    "n_envs": 2,
    "max_epochs": 4,
    "device": "cpu",
    "policy": {"feature_size": 16, "memory_size": 16},
}


def small_config(task: str = "mnist1d_blind", **changes: object) -> TrainingConfig:
    """A preset with a small policy."""
    return override(find_preset(task), {**SMALL_CONFIG, **changes})


def sound_checkpoint(
    config: TrainingConfig, slots: tuple[str, ...] = ("r0c0", "r0c1", "r0c2"), rounds: int = 1
) -> tuple[CheckpointManifest, dict[str, Any]]:
    """A manifest and a state from which a run can continue."""
    manifest = manifest_of(config, done=rounds, slots=slots)
    from esper_train.checkpoints.contents import initial_state

    state = initial_state(manifest)
    means = state["ppo"]["optimizer"]["means"]
    state["rounds"] = [_round(number) for number in range(1, rounds + 1)]
    count = sum(each.numel() for each in means)
    return manifest.model_copy(update={"policy_parameters": count}), state


def _round(number: int) -> dict[str, Any]:
    summary = RoundSummary(
        round=number,
        episodes=2,
        mean_return=1.0,
        mean_accuracy=10.0,
        best_accuracy=10.0,
        ops={},
        germinated=0,
        fossilized=0,
        pruned=0,
        grown_parameters=0.0,
        rollbacks=0,
        rollback_causes={},
        seconds=1.0,
    )
    return summary.model_dump(mode="json")


@pytest.fixture(scope="session", name="sound_checkpoint")
def sound_checkpoint_fixture():
    return sound_checkpoint


@pytest.fixture(scope="session", name="small_config")
def small_config_fixture():
    return small_config


def episode_result(seed: int, **changes: object) -> EpisodeResult:
    """One episode of an evaluation with made-up figures."""
    figures = {
        "rng_seed": seed,
        "epochs": 4,
        "ended": EpisodeEnd.HORIZON,
        "newborn_accuracy": 10.0,
        "test_accuracy": 60.0,
        "test_loss": 1.0,
        "val_accuracy": None,
        "host_parameters": 794,
        "parameters": 794,
        "pruned_epoch_parameters": 0,
        "forward_flops": 100,
        "train_flops": 1000,
        "validation_flops": 1000,
        "total_flops": 2000,
        "seconds": 1.0,
        "decision_seconds": 0.1,
        "germinated": 1,
        "fossilized": 1,
        "pruned": 0,
    }
    return EpisodeResult.model_validate(figures | changes)


@pytest.fixture(scope="session", name="episode_result")
def episode_result_fixture():
    return episode_result


def evaluation_results(arms: Sequence[ArmResult], **changes: object) -> EvaluationResults:
    """An evaluation of arms that were played on the same seeds."""
    facts = {
        "task": "mnist1d",
        "config": find_preset("mnist1d"),
        "rng_seeds": tuple(episode.rng_seed for episode in arms[0].episodes),
        "seed_range": SeedRange.TUNING,
        "shared_data": True,
        "policy": "sampled",
        "baseline": arms[-1].label,
        "confidence": 0.95,
        "arms": tuple(arms),
        "comparisons": (),
        "versions": {},
    }
    return EvaluationResults.model_validate(facts | changes)


@pytest.fixture(scope="session", name="evaluation_results")
def evaluation_results_fixture():
    return evaluation_results
