"""Runs programs with the real wandb library offline, and reads back what it wrote."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from esper_karn import EventReader
from esper_karn.weights_and_biases.rows import RowBuilder

PROGRAMS = Path(sys.executable).parent
SMALL = (
    *("--task", "mnist1d_blind", "--max-batches", "2", "--set", "n_envs=2"),
    *("--episode-length", "8", "--device", "cpu", "--no-tui"),
)
POLICY = ("--memory-size", "16", "--workers", "1")
OFFLINE = ("--wandb-mode", "offline")


def start(program, *arguments, cwd, **environment):
    return subprocess.Popen(
        [PROGRAMS / program, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"HOME": str(cwd), "OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(program, *arguments, cwd, **environment):
    """Runs a program; returns its exit code, standard output and standard error."""
    process = start(program, *arguments, cwd=cwd, **environment)
    output, errors = process.communicate(timeout=900)
    return process.returncode, output, errors


def parts_of(folder):
    """Finds the folders that the library wrote in a folder, in the order of their start."""
    return sorted((folder / "wandb").glob("offline-run-*"))


def records(folder):
    code, output, errors = run("wandb", "leet", "inspect", "--json", folder, cwd=folder)
    assert code == 0, errors
    return [json.loads(line) for line in output.splitlines()]


def of_type(found, kind):
    return [each[kind] for each in found if each["type"] == kind]


def summary(folder):
    _, output, _ = run("wandb", "leet", "inspect", "--summary", "--json", folder, cwd=folder)
    return json.loads(output)


def events_of(run_folder):
    with EventReader(run_folder / "events.jsonl") as reader:
        return list(reader.read())


def rows_of(events, without=frozenset()):
    """The rows that a log makes, by step."""
    builder = RowBuilder(without)
    rows = [*(builder.add(event) for event in events), builder.finish()]
    return {row.sequence: row.values for row in rows if row is not None}


def history(found):
    return {item["_step"]: item for item in (each["item"] for each in of_type(found, "history"))}


def wait_for(condition, what, seconds=600):
    """Waits until a condition holds, and returns what it returned then."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.2)
    return found


def rounds_done(runs):
    logs = list(runs.glob("*/events.jsonl"))
    return logs[0].read_text().count('"round_completed"') if logs else 0


def reader_of(process):
    """Finds the process that sends the run of a trainer."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # It may have ended meanwhile.
            if "esper_train.wandb_reader" in " ".join(child.cmdline()):
                found.append(child)
    return found[0] if found else None
