"""Runs without an end: live, crashed for certain, or stale."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from esper_karn import (
    Liveness,
    crash_command,
    liveness_of,
    liveness_text,
    peek,
    read_run,
    resume_command,
)
from esper_leyline import RunStatus, TrainingConfig
from esper_leyline.run_lock import LockProbe, LockState, RunOwner
from esper_nissa import RunDirectory, RunLock

OWNER = RunOwner(command="ppo", pid=7, host="box", machine="m", locked=True)
HELD, FREE, UNKNOWN = (LockProbe(state=state, owner=OWNER) for state in LockState)


@pytest.fixture
def run(tmp_path, run_of, as_log):
    run = RunDirectory.create(tmp_path / "runs", "mnist1d")
    run.write_config(TrainingConfig(task="mnist1d"))
    run.events.write_bytes(as_log(run_of(2, end=False)))
    return run


@pytest.mark.parametrize(
    ("lock", "age", "expected"),
    [
        (HELD, 5000.0, Liveness.LIVE),
        (FREE, 0.0, Liveness.CRASHED),
        (UNKNOWN, 19.0, Liveness.LIVE),
        (UNKNOWN, 21.0, Liveness.STALE),
        (UNKNOWN, -100.0, Liveness.LIVE),
        (UNKNOWN, None, Liveness.STALE),
    ],
)
def test_the_lock_decides_and_else_the_heartbeat(lock, age, expected):
    last = None if age is None else 1000.0 - age
    assert liveness_of(RunStatus.RUNNING, lock, last, 1000.0) is expected
    assert liveness_of(RunStatus.COMPLETED, lock, last, 1000.0) is Liveness.ENDED


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (12.3, "12 s"), (90, "2 min"), (5400, "2 h"), (200_000, "2 d"), (-5, "0 s")],
)
def test_a_run_without_an_end_is_described_with_its_last_event(seconds, words):
    doubt = "whether process 7 on box is alive is unknown here"
    said = [
        liveness_text(liveness, FREE, 1000.0, 1000.0 + seconds, "vitals")
        for liveness in (Liveness.LIVE, Liveness.CRASHED, Liveness.STALE)
    ]
    assert said == [
        f"running, last event vitals {words} ago",
        f"crashed: its process is gone; last event vitals {words} ago",
        f"stale, last event vitals {words} ago: {doubt}",
    ]
    assert liveness_text(Liveness.LIVE, HELD, None, 0.0, None) == "running, no event yet"


def test_list_and_show_report_a_crash_at_once(run):
    """The process dies without a word, as after ``kill -9``."""
    script = (
        "import os, sys; from pathlib import Path; from esper_nissa import RunLock;"
        "RunLock(Path(sys.argv[1]), 'ppo'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(run.path)], check=False)
    now = read_run(run.path).last_event
    for seen in (peek(run.path), read_run(run.path)):
        assert seen.liveness(now) is Liveness.CRASHED
        assert crash_command(run.path, seen.lock) == (
            f"cd {Path.cwd()} && uv run esper-train ppo --resume {run.path}"
        )


def test_a_run_that_is_trained_is_live_however_old_its_last_event_is(run):
    lock = RunLock(run.path, "ppo")
    os.utime(run.events, (0, 0))
    assert peek(run.path).liveness(1e12) is Liveness.LIVE
    lock.release()


def test_a_run_of_another_command_has_no_command_that_resumes_it(run):
    RunLock(run.path, "heuristic").release()
    assert crash_command(run.path, read_run(run.path).lock) is None


def test_a_command_that_resumes_quotes_its_paths():
    line = resume_command(Path("a run"), folder="/my $HOME", more=("--save", "it's.safetensors"))
    start, words = line.split(" && ")
    assert start == "cd '/my $HOME'"
    assert shlex.split(words)[4:] == ["--resume", "/my $HOME/a run", "--save", "it's.safetensors"]
    assert resume_command(Path("/a/run"), folder=None) == "uv run esper-train ppo --resume /a/run"


def test_a_crashed_run_in_a_relative_folder_has_a_command_for_any_directory(run, monkeypatch):
    RunLock(run.path, "ppo").release()
    monkeypatch.chdir(run.path.parent)
    command = crash_command(Path(run.path.name), read_run(Path(run.path.name)).lock)
    assert str(command).endswith(f"--resume {run.path}")


def test_a_lock_file_without_a_folder_is_still_read(run):
    RunLock(run.path, "ppo").release()
    path = run.path / "run.lock"
    old = json.loads(path.read_text())
    assert old.pop("folder") == str(Path.cwd())
    path.write_text(json.dumps(old))
    lock = read_run(run.path).lock
    assert crash_command(run.path, lock) == f"uv run esper-train ppo --resume {run.path}"
