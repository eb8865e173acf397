"""Whole runs under signals, dead workers and full disks: what they keep, and what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from esper_leyline import RunSummary

LONG = ("--rounds", "200", "--workers", "2")


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def after_a_checkpoint(process: subprocess.Popen[str], folder: Path) -> Path:
    """Waits for the first checkpoint of the only run in a folder; returns the run's folder."""
    while not list(folder.glob("*/checkpoints/*.pt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    (run,) = folder.iterdir()
    return run


def children(process: subprocess.Popen[str]) -> list[int]:
    return [
        int(pid)
        for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]


def worker(process: subprocess.Popen[str]) -> int:
    """Finds a worker process among the children of a run."""
    for pid in children(process):
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError(children(process))


def check(run: Path) -> RunSummary:
    """Checks that the summary, the events and the files agree on the last checkpoint."""
    summary = RunSummary.model_validate_json((run / "summary.json").read_text())
    assert summary.checkpoint is not None
    assert (run / summary.checkpoint).is_file()
    assert summary.checkpoint == f"checkpoints/round-{len(summary.rounds):05d}.pt"
    assert summary.resume is not None
    assert summary.checkpoint in summary.resume
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    saved = [line["payload"] for line in lines if line["payload"]["kind"] == "checkpoint_saved"]
    assert saved[-1]["path"] == summary.checkpoint
    assert not list(run.rglob("*.partial"))
    return summary


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGXCPU])
def test_a_signal_to_all_processes_ends_a_run_in_order(command, small, tmp_path, number) -> None:
    process = start(command("ppo", *small, *LONG, "--runs", str(tmp_path)))
    run = after_a_checkpoint(process, tmp_path)
    os.killpg(process.pid, number) if number != signal.SIGXCPU else process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, output + errors
    assert errors == ""
    assert f"go on: {check(run).resume}" in output


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.01, 0.03, 0.1, 0.3])
def test_a_second_signal_loses_nothing(command, small, tmp_path, delay) -> None:
    process = start(command("ppo", *small, *LONG, "--runs", str(tmp_path)))
    run = after_a_checkpoint(process, tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, output + errors
    assert errors == ""
    check(run)


@pytest.mark.slow
def test_a_killed_worker_leaves_the_rounds_of_its_run(command, small, tmp_path) -> None:
    process = start(command("ppo", *small, *LONG, "--runs", str(tmp_path)))
    run = after_a_checkpoint(process, tmp_path)
    os.kill(worker(process), signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1, output + errors
    assert "--workers" in errors
    assert "Traceback" not in errors
    assert f"go on: {check(run).resume}" in output


@pytest.mark.slow
def test_a_stopped_worker_does_not_hold_up_the_end(command, small, tmp_path) -> None:
    process = start(command("ppo", *small, *LONG, "--runs", str(tmp_path)))
    run = after_a_checkpoint(process, tmp_path)
    stopped = worker(process)
    os.kill(stopped, signal.SIGSTOP)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, output + errors
    check(run)
    assert not Path(f"/proc/{stopped}").exists()
