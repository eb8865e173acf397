"""Whole runs under signals, dead workers and full disks: what they keep, and what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from esper_leyline import RunStatus, RunSummary

LONG = ("--rounds", "200")


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
    while not list(folder.glob("*/checkpoints/*.safetensors")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    (run,) = folder.iterdir()
    return run


def children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def workers_of(parent: int) -> list[int]:
    """Finds the worker processes below a process: children of one that forks them."""
    found = []
    for child in children(parent):
        forks = b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes()
        found += children(child) if forks else workers_of(child)
    return found


def worker(process: subprocess.Popen[str]) -> int:
    """Finds a worker process of a run."""
    return workers_of(process.pid)[0]


def check(run: Path) -> RunSummary:
    """Checks that the summary, the events and the files agree on the last checkpoint."""
    summary = RunSummary.model_validate_json((run / "summary.json").read_text())
    assert summary.checkpoint is not None
    assert (run / summary.checkpoint).is_file()
    assert summary.checkpoint == f"checkpoints/round-{len(summary.rounds):05d}.safetensors"
    assert summary.resume is not None
    assert summary.resume.endswith(f"--resume {run}")
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    saved = [line["payload"] for line in lines if line["payload"]["kind"] == "checkpoint_saved"]
    assert saved[-1]["path"] == summary.checkpoint
    assert not list(run.rglob("*.partial"))
    return summary


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGXCPU])
def test_a_signal_to_all_processes_stops_a_run_cleanly(command, sharded, tmp_path, number) -> None:
    process = start(command("ppo", *sharded, *LONG, "--runs", str(tmp_path)))
    run = after_a_checkpoint(process, tmp_path)
    os.killpg(process.pid, number) if number != signal.SIGXCPU else process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, output + errors
    assert errors == ""
    assert f"resume with: {check(run).resume}" in output


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.01, 0.1])
def test_a_second_signal_loses_nothing(command, sharded, tmp_path, delay) -> None:
    process = start(command("ppo", *sharded, *LONG, "--runs", str(tmp_path)))
    run = after_a_checkpoint(process, tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, output + errors
    assert errors == ""
    check(run)


@pytest.mark.slow
def test_a_killed_worker_does_not_end_a_run_and_changes_no_number(
    command, run, sharded, tmp_path
) -> None:
    rounds = ("--rounds", "4")
    whole = run(tmp_path / "whole", "ppo", *sharded, *rounds)
    folder = tmp_path / "killed"
    process = start(command("ppo", *sharded, *rounds, "--runs", str(folder)))
    path = after_a_checkpoint(process, folder)
    os.kill(worker(process), signal.SIGKILL)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, output + errors
    assert errors == ""
    lines = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    (again,) = [each["payload"] for each in lines if each["payload"]["kind"] == "worker_restarted"]
    assert again["reason"] == "was killed by signal 9"
    assert type(whole)(path, output).results == whole.results


@pytest.mark.slow
def test_a_stopped_worker_does_not_delay_the_end(command, sharded, tmp_path) -> None:
    process = start(command("ppo", *sharded, *LONG, "--runs", str(tmp_path)))
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


RULES = ("heuristic", "--task", "mnist1d_blind", "--episodes", "500", "--max-epochs", "8")
JUDGED = ("evaluate", "--task", "mnist1d_blind", "--arms", "static", "--seeds", "500")
BOTH = ("ppo", "--dual-ab", "shaped-vs-sparse", "--rounds", "500")
TWICE = (signal.SIGINT, signal.SIGINT)


def alive(session: int) -> list[tuple[int, bytes]]:
    """Finds the processes of a session that have not ended, with their commands."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            state, *fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == session and state not in "ZX":
                found.append((int(folder.name), (folder / "cmdline").read_bytes()))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def printed(path: Path, word: str, process: subprocess.Popen[str]) -> None:
    while word not in path.read_text():
        assert process.poll() is None, path.read_text()
        time.sleep(0.05)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What is started, what happens to it, and what it says of that.

    Attributes:
        once: What it has printed before the signals come.
        signals: Sent to all of its processes, or to it alone if one of them is stopped.
        stopped: Whether a worker is stopped before.
    """

    arguments: tuple[str, ...]
    once: str
    signals: tuple[int, ...]
    stopped: bool = False
    says: str


ENDINGS = {
    "heuristic-usr1": Ending(
        arguments=RULES, once="round", signals=(signal.SIGUSR1,), says="interrupted"
    ),
    "heuristic-int-twice": Ending(arguments=RULES, once="round", signals=TWICE, says="interrupted"),
    "evaluate-hup": Ending(
        arguments=JUDGED, once="static:", signals=(signal.SIGHUP,), says="no results"
    ),
    "evaluate-stopped-worker": Ending(
        arguments=JUDGED, once="static:", signals=TWICE, stopped=True, says="no results"
    ),
    "dual-term": Ending(
        arguments=BOTH, once="/500", signals=(signal.SIGTERM,), says="resume with: "
    ),
    "dual-stopped-worker": Ending(
        arguments=BOTH, once="/500", signals=TWICE, stopped=True, says="resume with: "
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDINGS)
def test_every_command_stops_cleanly_and_leaves_no_process(
    command, sharded, tmp_path, name
) -> None:
    ending = ENDINGS[name]
    sizes = sharded if ending.arguments is BOTH else ()
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            command(*ending.arguments, *sizes),
            cwd=tmp_path,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    printed(output, ending.once, process)
    if ending.stopped:
        os.kill(workers_of(process.pid)[0], signal.SIGSTOP)
    for number in ending.signals:
        os.kill(process.pid, number) if ending.stopped else os.killpg(process.pid, number)
        time.sleep(0.2)
    assert process.wait(timeout=240) == 128 + ending.signals[0], output.read_text()
    assert ending.says in output.read_text()
    assert "Traceback" not in output.read_text()
    # Python's resource tracker ends when it reads that the process has closed its pipe.
    patience = time.monotonic() + 20
    while alive(process.pid) and time.monotonic() < patience:
        time.sleep(0.05)
    assert alive(process.pid) == []
    if ending.arguments is not JUDGED:
        (run,) = [path.parent for path in tmp_path.glob("runs/*/summary.json")]
        summary = RunSummary.model_validate_json((run / "summary.json").read_text())
        assert summary.status is RunStatus.INTERRUPTED
        assert not list(run.rglob("*.partial"))
