"""Runs that end between their last round and their summary, or before a checkpoint of their own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from esper_leyline import RoundSummary, RunStatus, RunSummary
from esper_train import main

pytestmark = pytest.mark.slow

PATCHED = """
import os, sys
from esper_train import main, session

def end_testing(*_):
    # After a first signal that can be handled, the test is finished; a second one ends it.
    os.kill(os.getpid(), {number})
    os.kill(os.getpid(), {number})

def end_before_training(self, phase, detail=None):
    if phase == "training":
        os.kill(os.getpid(), {number})

session.RunSession.{method} = {patch}
sys.exit(main(sys.argv[1:]))
"""


def stopped(code: str, arguments: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess:
    """Runs the real command in a process that sends itself a signal."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=580,
        cwd=folder,
    )
    assert "Traceback" not in done.stderr
    return done


def resumed(run: Path) -> RunSummary:
    """Resumes a run to its end, and returns its summary."""
    assert main(["ppo", "--resume", str(run), "--no-tui"]) == 0
    return RunSummary.model_validate_json((run / "summary.json").read_text())


def numbers(summary: RunSummary) -> list[RoundSummary]:
    return [each.model_copy(update={"seconds": 0.0}) for each in summary.rounds]


@pytest.mark.parametrize(
    ("number", "rounds"), [(signal.SIGKILL, 2), (signal.SIGTERM, 2), (signal.SIGKILL, 1)]
)
def test_a_run_with_one_checkpoint_that_ends_while_testing_gets_its_test_accuracy(
    number, rounds, small, ppo_run, tmp_path
):
    """The hosts of the last round are gone, so that round has to be played again."""
    code = PATCHED.format(number=int(number), method="test_hosts", patch="end_testing")
    keep = ("--set", "checkpoints.keep=1", "--checkpoint-every", "1")
    done = stopped(code, ("ppo", *small, "--rounds", str(rounds), *keep), tmp_path)
    killed = number == signal.SIGKILL
    assert done.returncode == (-9 if killed else 128 + number)
    assert ("resume with: " in done.stdout) == (not killed)
    (run,) = (tmp_path / "runs").iterdir()
    summary = resumed(run)
    assert summary.status is RunStatus.COMPLETED
    assert numbers(summary) == numbers(ppo_run.summary)[:rounds]
    assert summary.mean_test_accuracy is not None
    if rounds == 2:
        assert summary.mean_test_accuracy == ppo_run.summary.mean_test_accuracy
    names = [each.name for each in (run / "checkpoints").iterdir()]
    assert names == [f"round-{rounds:05d}.safetensors"]


def test_a_run_from_a_file_that_is_killed_at_once_does_not_start_at_round_one(ppo_run, tmp_path):
    shutil.copy(ppo_run.directory / "checkpoints" / "round-00001.safetensors", tmp_path / "policy")
    code = PATCHED.format(number=9, method="phase", patch="end_before_training")
    done = stopped(code, ("ppo", "--resume", "policy", "--rounds", "2"), tmp_path)
    assert done.returncode == -9
    (run,) = (tmp_path / "runs").iterdir()
    summary = resumed(run)
    assert numbers(summary) == numbers(ppo_run.summary)
    assert summary.mean_test_accuracy == ppo_run.summary.mean_test_accuracy
