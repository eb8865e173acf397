"""A log, a screen or a clock that fails never ends a run, and never passes without a word."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from esper_karn import EventReader
from esper_overwatch import main as overwatch
from esper_train.interrupts import StopRequest
from esper_train.session import RunSession
from esper_train.settings.options import HEURISTIC_FLAGS, SetOptions, TelemetryOptions
from esper_train.settings.resolve import plan_heuristic

PROGRAM = Path(sys.executable).with_name("esper-train")
OVERWATCH = Path(sys.executable).with_name("esper-overwatch")
SHORT = "ppo --rounds 2 --envs 2 --episode-length 12 --workers 1 --no-tui"
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


def bash(line, folder, **options):
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def start(line, folder):
    return subprocess.Popen(
        [PROGRAM, *line.split()],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def only_run(folder):
    (run,) = (folder / "runs").iterdir()
    return run


def summary_of(run):
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@functools.cache
def usual_end(program, arguments):
    """What a command that creates nothing ends with where all its streams are there."""
    return bash(f"'{program}' {arguments}", Path(tempfile.gettempdir()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "redirection", ["| head -n 1", ">&-", "2>&-", "<&- >&- 2>&-", "> /dev/full"]
)
@pytest.mark.parametrize(
    ("program", "arguments"),
    [(PROGRAM, "--help"), (OVERWATCH, "list nowhere"), (OVERWATCH, "--help")],
)
def test_streams_that_are_gone_change_no_exit_code(program, arguments, redirection, tmp_path):
    usual = usual_end(program, arguments)
    done = bash(f"'{program}' {arguments} {redirection}", tmp_path)
    # What was asked for is the output, which is lost.
    lost = redirection == "> /dev/full" and usual.returncode == 0
    assert done.returncode == (1 if lost else usual.returncode)
    error = "error: cannot write to standard output: No space left on device\n"
    assert done.stderr in ({error} if lost else {usual.stderr, ""})


@pytest.mark.slow
def test_durations_do_not_come_from_the_wall_clock(tmp_path, capsys):
    """The clock runs backwards here, a thousand times as fast."""
    program = (
        "import sys, time; real = time.time; start = real();"
        "time.time = lambda: start - 1000 * (real() - start);"
        "from esper_train.cli import main; raise SystemExit(main(sys.argv[1:]))"
    )
    arguments = [
        "heuristic",
        "--max-epochs",
        "18",  # two epochs of two batches last less than a tenth of a second
        "--no-tui",
        "--task",
        "mnist1d_blind",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path)
    assert 0 < summary_of(run)["seconds"] < 600
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [each["sequence"] for each in events] == list(range(len(events)))
    assert events[-1]["wall_time"] < events[0]["wall_time"] - 100
    clock = [each["monotonic"] for each in events]
    assert clock == sorted(clock)
    durations = list(seconds_in([each["payload"] for each in events]))
    assert len(durations) > 3
    assert min(durations) >= 0
    for arguments in (["list", str(run.parent)], ["show", str(run)]):
        assert overwatch(arguments) == 0
        shown = capsys.readouterr().out
        assert "completed" in shown
        assert not re.search(r"-\d+:\d\d", shown)


def seconds_in(value):
    """Yields every number in a nested value whose key says that it is in seconds."""
    if isinstance(value, dict):
        for key, each in value.items():
            if "seconds" in key:
                yield from each.values() if isinstance(each, dict) else (each,)
            else:
                yield from seconds_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from seconds_in(each)


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["| head -n 2", ">&-"])
def test_a_run_completes_without_its_output(redirection, tmp_path):
    done = bash(f"'{PROGRAM}' {SHORT} {redirection}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    run = only_run(tmp_path)
    assert summary_of(run)["status"] == "completed"
    with EventReader(run / "events.jsonl") as reader:
        assert {event.run_id for event in reader.read()} == {run.name}
        assert reader.problem_count == 0


@pytest.mark.slow
def test_a_full_disk_under_the_log_does_not_end_the_run(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        done = bash(f"'{PROGRAM}' {SHORT} --telemetry-file disk/log.jsonl", tmp_path)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: cannot write event log") == 1
    assert "No space left on device" in done.stderr
    run = only_run(tmp_path)
    summary = summary_of(run)
    assert summary["status"] == "completed"
    assert summary["telemetry_lost"]["since_sequence"] > 0
    assert (run / summary["checkpoint"]).exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["removed", "replaced", "truncated"])
def test_a_removed_log_is_reported_once_and_at_the_end(how, tmp_path):
    trainer = start(SHORT, tmp_path)
    wait_for(lambda: any(tmp_path.glob("runs/*/events.jsonl")))
    log = only_run(tmp_path) / "events.jsonl"
    wait_for(lambda: log.stat().st_size > 0)
    if how == "truncated":
        os.truncate(log, 0)
    else:
        log.unlink()
    if how == "replaced":
        log.touch()
    printed, said = trainer.communicate(timeout=300)
    assert trainer.returncode == 0, said
    assert said.count(f"was {how}") == said.count("\n") == 1
    lost = summary_of(only_run(tmp_path))["telemetry_lost"]
    assert f"was {how}" in lost["reason"]
    (line,) = [line for line in printed.splitlines() if line.startswith("telemetry: ")]
    assert f"{lost['events']:,} event" in line
    assert lost["reason"] in line
    if how == "truncated":
        numbers = [json.loads(each)["sequence"] for each in log.read_text().splitlines()]
        assert numbers == list(range(lost["events"], numbers[-1] + 1))
        assert json.loads(log.read_text().splitlines()[-1])["payload"]["kind"] == "run_completed"


def session_in(folder, **options):
    runs = TelemetryOptions(runs=folder / "runs", no_tui=True, **options)
    plan = plan_heuristic(HEURISTIC_FLAGS(device="cpu"), SetOptions())
    return runs, plan


def test_a_restored_run_directory_points_at_its_log(tmp_path, capsys):
    runs, plan = session_in(tmp_path, telemetry_file=tmp_path / "log.jsonl")
    with StopRequest() as stop, RunSession("heuristic", plan, runs, stop) as session:
        shutil.rmtree(session.directory.path)
    run = only_run(tmp_path)
    assert (run / "events.path").read_text() == f"{tmp_path / 'log.jsonl'}\n"
    assert f"run directory '{run}' was deleted during the run" in capsys.readouterr().out
    assert bash(f"'{OVERWATCH}' show '{run}'", tmp_path).returncode == 0


def test_a_single_file_that_is_deleted_is_named(tmp_path, capsys):
    runs, plan = session_in(tmp_path, telemetry_file=tmp_path / "log.jsonl")
    with StopRequest() as stop, RunSession("heuristic", plan, runs, stop) as session:
        (session.directory.path / "events.path").unlink()
    assert (only_run(tmp_path) / "events.path").exists()
    assert f"events.path of '{only_run(tmp_path)}' was deleted" in capsys.readouterr().out


@pytest.mark.slow
def test_a_deleted_run_directory_is_reported(tmp_path):
    trainer = start(SHORT, tmp_path)
    wait_for(lambda: any(tmp_path.glob("runs/*/events.jsonl")))
    log = only_run(tmp_path) / "events.jsonl"
    wait_for(lambda: log.stat().st_size > 0)
    run = only_run(tmp_path)
    run.rename(tmp_path / "elsewhere")
    printed, said = trainer.communicate(timeout=300)
    assert f"'runs/{run.name}' was deleted during the run" in printed
    summary = summary_of(run)
    assert summary["telemetry_lost"] is not None
    kept = summary["checkpoint"] is not None
    assert trainer.returncode == (0 if kept else 1), said
    assert not kept or (run / summary["checkpoint"]).exists()


@pytest.mark.slow
def test_a_second_run_on_the_same_log_is_refused(tmp_path):
    line = f"{SHORT} --telemetry-file log.jsonl"
    trainers = [start(line, tmp_path) for _ in range(2)]
    ends = [trainer.communicate(timeout=300) for trainer in trainers]
    codes = [trainer.returncode for trainer in trainers]
    assert sorted(codes) == [0, 2], ends
    refused = ends[codes.index(2)][1]
    assert refused.startswith("error: ")
    assert refused.count("\n") == 1
    assert "log.jsonl" in refused
    run = only_run(tmp_path)
    # A log holds the run's name in the first line of each boot: a second writer would add its own.
    with EventReader(tmp_path / "log.jsonl") as reader:
        assert {event.run_id for event in reader.read()} == {run.name}


def test_an_arm_of_a_comparison_survives_a_closed_pipe():
    """It fails for want of its run directory, and not for want of a reader."""
    arm = f"'{sys.executable}' -m esper_train.dual.arm nowhere --group g | true"
    done = bash(f"{arm}", Path.cwd())
    assert "BrokenPipeError" not in done.stderr


def test_log_and_summary_agree_on_a_deleted_checkpoint(tmp_path):
    runs = TelemetryOptions(runs=tmp_path, no_tui=True)
    plan = plan_heuristic(HEURISTIC_FLAGS(device="cpu"), SetOptions())
    with StopRequest() as stop, RunSession("heuristic", plan, runs, stop) as session:
        session.progress.checkpoint = "checkpoints/round-00001.safetensors"
    log = session.directory.events.read_text(encoding="utf-8").splitlines()
    payload = json.loads(log[-1])["payload"]
    summary = summary_of(session.directory.path)
    assert (payload["kind"], summary["status"]) == ("run_failed", "failed")
    assert payload["error"] == summary["error"]
    assert "was deleted" in summary["error"]
    assert session.exit_code == 1
