"""Whole runs of the real commands, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from esper_karn import EventReader
from esper_leyline import RunStatus, RunSummary, read_config
from esper_train import main


def test_a_run_leaves_its_directory(ppo_run) -> None:
    names = {path.name for path in ppo_run.directory.iterdir()}
    assert {"config.json", "events.jsonl", "checkpoints", "summary.json"} <= names
    assert "-mnist1d_blind-" in ppo_run.directory.name
    assert ppo_run.summary.status is RunStatus.COMPLETED
    assert len(ppo_run.summary.rounds) == 2
    assert ppo_run.summary.mean_test_accuracy is not None
    assert (ppo_run.directory / str(ppo_run.summary.checkpoint)).is_file()


def test_a_run_says_what_it_chose_and_found(ppo_run) -> None:
    output = ppo_run.output
    assert str(ppo_run.directory) in output
    for words in ("plan:", "round 1/2", "round 2/2", "mean return", "fossilized", "grown"):
        assert words in output


def test_the_log_has_every_event_in_order(ppo_run) -> None:
    with EventReader(ppo_run.directory / "events.jsonl") as reader:
        events = list(reader.read())
        assert reader.problem_count == 0
    assert [event.sequence for event in events] == list(range(len(events)))
    kinds = [event.kind for event in events]
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_completed"
    assert kinds.count("ppo_update") == 2
    assert kinds.count("epoch_completed") == 2 * 2 * 4
    assert kinds.count("episode_outcome") == 2 * 2


@pytest.mark.slow
def test_the_resolved_config_gives_the_same_run(ppo_run, run, tmp_path: Path) -> None:
    config = ppo_run.directory / "config.json"
    assert read_config(config).device == "cpu"
    again = run(tmp_path / "runs", "ppo", "--config-json", str(config))
    assert again.results == ppo_run.results
    assert again.summary.mean_test_accuracy == ppo_run.summary.mean_test_accuracy


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(
    ppo_run, run_here, small, tmp_path: Path
) -> None:
    saved = tmp_path / "half.safetensors"
    half = run_here(tmp_path / "half", "ppo", *small, "--rounds", "1", "--save", str(saved))
    assert half.results == ppo_run.results[:1]
    whole = run_here(tmp_path / "whole", "ppo", "--resume", str(saved), "--rounds", "2")
    assert whole.results == ppo_run.results


def test_resume_keeps_the_checkpoints_config(ppo_run, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = ppo_run.directory / str(ppo_run.summary.checkpoint)
    assert main(["ppo", "--resume", str(checkpoint), "--envs", "3"]) == 2
    assert "--envs" in capsys.readouterr().err
    assert main(["ppo", "--resume", str(checkpoint), "--amp"]) == 2
    assert "--amp" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_keeps_checkpoint_and_summary(command, interrupt, small, tmp_path: Path) -> None:
    endless = command("ppo", *small, "--rounds", "500", "--runs", str(tmp_path))
    interrupt(endless, "round   1/")
    (directory,) = tmp_path.iterdir()
    summary = RunSummary.model_validate_json((directory / "summary.json").read_text())
    assert summary.status is RunStatus.INTERRUPTED
    assert len(summary.rounds) >= 1
    assert (directory / str(summary.checkpoint)).is_file()
    last = (directory / "events.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["payload"]["status"] == "interrupted"


@pytest.mark.slow
def test_a_run_outlives_its_console_view(command, small, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("ppo", *small, "--rounds", "2", "--runs", str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    viewer = _child(process.pid, "esper_train.viewer")
    os.kill(viewer, signal.SIGKILL)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "console view ended early" in output
    assert "mean return" in output


def _child(parent: int, name: str) -> int:
    """Waits for a child process whose command line holds ``name``."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for child in children:
            if name in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
        time.sleep(0.05)
    raise AssertionError(f"no child {name} of {parent}")


@pytest.mark.slow
def test_a_run_in_mixed_precision(ppo_run, run_here, small, tmp_path: Path) -> None:
    mixed = run_here(tmp_path, "ppo", *small, "--rounds", "2", "--amp")
    config = read_config(mixed.directory / "config.json")
    assert (config.amp, config.amp_dtype) == (True, "bfloat16")
    accuracies = [[each["mean_accuracy"] for each in run.results] for run in (mixed, ppo_run)]
    assert accuracies[0] != accuracies[1]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=15.0)


@pytest.mark.slow
def test_the_heuristic_runs(run_here, tmp_path: Path) -> None:
    done = run_here(
        tmp_path,
        "heuristic",
        "--task",
        "mnist1d_blind",
        "--max-epochs",
        "12",
        "--max-batches",
        "5",
        "--device",
        "cpu",
    )
    assert done.summary.command == "heuristic"
    assert done.summary.rounds[0].germinated >= 1


@pytest.mark.slow
def test_telemetry_can_be_off_or_elsewhere(run_here, small, tmp_path: Path) -> None:
    short = ("ppo", *small, "--rounds", "1")
    silent = run_here(tmp_path / "silent", *short, "--telemetry-level", "off")
    assert (silent.directory / "events.jsonl").read_text() == ""
    assert len(silent.summary.rounds) == 1
    log = tmp_path / "elsewhere.jsonl"
    run_here(tmp_path / "moved", *short, "--telemetry-file", str(log))
    assert "run_completed" in log.read_text().splitlines()[-1]


@pytest.mark.slow
def test_the_second_run_that_saves_to_a_file_says_that_it_replaced_it(
    command, small, tmp_path: Path
) -> None:
    saved, runs = tmp_path / "policy.safetensors", tmp_path / "runs"
    saved.write_text("of an earlier run")
    arguments = ["ppo", *small, "--rounds", "500", "--save", str(saved), "--runs", str(runs)]
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    before = []
    for line in process.stdout:
        before.append(line)
        if line.startswith("round") and "1/500" in line:
            break
    saved.write_text("of a run that ended earlier than this one")
    os.killpg(process.pid, signal.SIGINT)
    after, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert f"--save {saved} exists and will be replaced" in "".join(before)
    assert "it replaced a file that another run wrote" in after
    (directory,) = runs.iterdir()
    summary = RunSummary.model_validate_json((directory / "summary.json").read_text())
    assert saved.read_bytes() == (directory / str(summary.checkpoint)).read_bytes()
