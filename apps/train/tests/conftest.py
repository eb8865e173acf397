from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from esper_leyline import CheckpointManifest, RunSummary, TrainingConfig

SIZES = ("--envs", "2", "--episode-length", "4", "--memory-size", "16")
SMALL = ("--preset", "mnist1d_blind", *SIZES, "--device", "cpu")


@dataclass(frozen=True)
class Finished:
    """A run that was made by the real command in a process of its own."""

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
    for line in process.stdout:
        if line.startswith(once):
            break
    # As a terminal does it: the signal goes to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 130, output + errors
    assert errors == ""
    return output


@pytest.fixture(scope="session", name="interrupt")
def interrupt_fixture():
    return interrupt


def manifest_of(config: TrainingConfig, *, done: int) -> CheckpointManifest:
    """What a checkpoint of a run with this config says of itself after ``done`` rounds."""
    return CheckpointManifest(
        run_id="20260101-000000-digits-000000",
        task=config.task,
        rounds_completed=done,
        slots=config.slots or ("r0c0", "r0c1", "r0c2"),
        observation_size=128,
        policy_parameters=1000,
        torch_version="2.0",
        config=config,
    )


@pytest.fixture(scope="session", name="manifest_of")
def manifest_of_fixture():
    return manifest_of


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """A task and sizes with which a run takes seconds."""
    return SMALL


@pytest.fixture(scope="session")
def ppo_run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("ppo")
    return run(folder, "ppo", *SMALL, "--rounds", "2")


@pytest.fixture(scope="session", autouse=True)
def hang_ups_are_not_ignored():
    """Under nohup they are, here and in every process that a test starts."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
