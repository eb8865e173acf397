"""A trainer that is killed while it writes a checkpoint: the one before is whole, and is taken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from esper_leyline import RunSummary
from esper_train import main
from esper_train.checkpoints.files import load_checkpoint

pytestmark = pytest.mark.slow

STOPPING = """
import os, sys, time
from pathlib import Path
from esper_train import main

point, fsync, replace = sys.argv[1], os.fsync, os.replace

def stop():
    Path("reached").touch()
    time.sleep(600)

def stopping_fsync(descriptor):
    name = os.readlink(f"/proc/self/fd/{descriptor}")
    if point == "sync the file" and "/checkpoints/" in name and list(Path().glob(FIRST)):
        stop()
    if point == "sync the folder" and name.endswith("/checkpoints") and list(Path().glob(SECOND)):
        stop()
    fsync(descriptor)

def stopping_replace(source, target, **more):
    if point == "rename" and str(target).endswith("/round-00002.safetensors"):
        stop()
    replace(source, target, **more)

FIRST = "runs/*/checkpoints/round-00001.safetensors"
SECOND = "runs/*/checkpoints/round-00002.safetensors"
os.fsync, os.replace = stopping_fsync, stopping_replace
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("point", ["sync the file", "rename", "sync the folder"])
def test_a_kill_while_a_checkpoint_is_written_loses_nothing(point, small, ppo_run, tmp_path):
    arguments = ("ppo", *small, "--rounds", "2", "--checkpoint-every", "1")
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPING, point, *arguments],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "reached").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (run,) = (tmp_path / "runs").iterdir()
    found = sorted((run / "checkpoints").glob("*.safetensors"))
    assert len(found) == (2 if point == "sync the folder" else 1)
    assert [load_checkpoint(each)[0].rounds_completed for each in found] == [1, 2][: len(found)]
    assert main(["ppo", "--resume", str(run), "--no-tui"]) == 0
    summary = RunSummary.model_validate_json((run / "summary.json").read_text())
    rounds = [each.model_copy(update={"seconds": 0.0}) for each in summary.rounds]
    expected = [each.model_copy(update={"seconds": 0.0}) for each in ppo_run.summary.rounds]
    assert rounds == expected
    assert summary.mean_test_accuracy == ppo_run.summary.mean_test_accuracy
    assert not list(run.rglob("*.partial"))
