"""The status of runs in SQL is the one that a list of runs shows."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from esper_karn import peek
from esper_karn.analytics.database import open_runs
from esper_nissa import RunLock

LOCKED_AND_KILLED = (
    "import os, sys; from pathlib import Path; from esper_nissa import RunLock;"
    "RunLock(Path(sys.argv[1]), 'ppo'); os.kill(os.getpid(), 9)"
)


@pytest.fixture
def statuses(write_run, run_of, as_log, caches):
    """Status by run, as SQL answers and as a list shows it."""
    unfinished = run_of(rounds=2, end=False)
    # Ahead of now, because a busy machine may take long to ask.
    recent = [replace(each, wall_time=time.time() + 600) for each in unfinished]
    crashed = write_run("crashed", as_log(recent))
    subprocess.run([sys.executable, "-c", LOCKED_AND_KILLED, str(crashed)], check=False)
    old = as_log(unfinished).replace(b'"schema_version":3', b'"schema_version":1')
    runs = [
        *(crashed, write_run("stale", as_log(unfinished)), write_run("recent", as_log(recent))),
        *(write_run("empty", b""), write_run("completed"), write_run("locked", as_log(unfinished))),
        write_run("old", old),
    ]
    lock = RunLock(runs[5], "ppo")
    with open_runs(runs, caches) as database:
        answered = dict(database.query("SELECT run, status FROM runs").rows)
    listed = {run.name: peek(run).status_text(time.time()) for run in runs}
    lock.release()
    return answered, listed


def test_sql_says_what_a_list_says(statuses):
    answered, listed = statuses
    assert answered == listed
    assert answered == {
        "crashed": "crashed",
        "stale": "stale",
        "recent": "running",
        "empty": "stale",
        "completed": "completed",
        "locked": "running",
        "old": "unreadable",
    }
