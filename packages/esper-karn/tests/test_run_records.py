"""Runs read from their directories: ended, running, crashed or broken."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from esper_karn import (
    KarnError,
    Liveness,
    RunReport,
    is_run_directory,
    peek,
    read_run,
)
from esper_leyline import RunStatus, RunSummary, TrainingConfig
from esper_leyline.events import encode_event
from esper_nissa import RunDirectory


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create(tmp_path / "runs", "mnist1d")
    run.write_config(TrainingConfig(task="mnist1d"))
    return run


def summary_of(events, **changes):
    rounds = [event.payload.summary for event in events if event.kind == "round_completed"]
    facts = {
        "run_id": "r",
        "command": "ppo",
        "task": "mnist1d",
        "status": "completed",
        "started": 1_735_732_800.0,
        "seconds": 180.0,
        "rounds": tuple(rounds),
        "host_parameters": 782,
    }
    return RunSummary(**facts | changes)


def log_start(events):
    return events[0].wall_time


def test_an_ended_run_is_read_from_its_summary(run, run_of):
    summary = summary_of(run_of(4))
    run.write_summary(summary)
    record = read_run(run.path)
    assert record.report == RunReport.of(summary)
    assert (record.run_id, record.last_event) == (run.run_id, 1_735_732_980.0)
    seen = peek(run.path)
    assert (seen.task, seen.status, seen.rounds_done) == ("mnist1d", RunStatus.COMPLETED, 4)
    assert (seen.last_round.mean_return, seen.last_round.mean_accuracy) == (3.0, 60.0)
    assert seen.problem is None


def test_a_run_that_ended_early_says_how_many_rounds_it_was_to_have(run, run_of):
    run.write_summary(summary_of(run_of(4), status="interrupted"))
    planned = TrainingConfig(task="mnist1d").n_episodes
    assert (peek(run.path).rounds_done, peek(run.path).rounds_total) == (4, planned)
    (run.path / "config.json").write_text("{")
    assert peek(run.path).rounds_total is None
    assert peek(run.path).problem is None


def test_a_run_without_a_summary_is_read_from_its_log(run, run_of, as_log):
    events = run_of(30, end=False)
    run.events.write_bytes(as_log(events[:-3]) + b'{"torn')
    record = read_run(run.path)
    assert record.report.status is RunStatus.RUNNING
    assert record.report.rounds_done == 29
    built = next(event.payload for event in events if event.kind == "environment_built")
    assert record.report.host_parameters == built.host_parameters
    assert record.last_event == events[-4].wall_time
    seen = peek(run.path)
    assert (seen.task, seen.status) == ("mnist1d", RunStatus.RUNNING)
    assert (seen.rounds_done, seen.rounds_total) == (29, 30)
    assert seen.last_round.mean_accuracy == pytest.approx(40 + 20 * 29 / 30)
    assert seen.last_event == events[-4].wall_time


def test_a_failed_run_without_a_summary_has_its_error(run, run_of, as_log):
    from esper_leyline.events import RunFailed

    *events, last = run_of(2)
    failed = RunFailed(error="RuntimeError: gone", rounds_completed=2, seconds=3.0)
    run.events.write_bytes(as_log([*events, replace(last, payload=failed)]))
    assert peek(run.path).status is RunStatus.FAILED
    assert read_run(run.path).report.error == "RuntimeError: gone"


def test_peek_counts_rounds_without_a_finished_round_near_the_end(run, run_of, as_log, monkeypatch):
    events = run_of(9, end=False)
    at = max(n for n, e in enumerate(events) if e.kind == "epoch_completed")
    run.events.write_bytes(as_log(events[: at + 1]))
    monkeypatch.setattr("esper_karn.log.log_ends.TAIL_BYTES", 3000)
    seen = peek(run.path)
    assert (seen.rounds_done, seen.rounds_total, seen.last_round) == (8, 9, None)


def test_a_run_with_an_empty_log_is_running(run):
    record = read_run(run.path)
    assert record.last_event is None
    assert record.liveness(0.0) is Liveness.STALE
    seen = peek(run.path)
    assert (seen.status, seen.rounds_done, seen.task) == (RunStatus.RUNNING, 0, None)


def test_a_log_sent_elsewhere_is_found(tmp_path, run_of, as_log):
    run = RunDirectory.create(tmp_path / "runs", "mnist1d", telemetry_file=tmp_path / "log.jsonl")
    run.write_config(TrainingConfig(task="mnist1d"))
    run.events.write_bytes(as_log(run_of(2, end=False)))
    assert read_run(run.path).report.rounds_done == 2
    assert peek(run.path).rounds_done == 2
    run.events.unlink()
    assert peek(run.path).rounds_done == 0


def test_the_summary_of_a_run_that_was_resumed_since_is_ignored(run, run_of, as_log):
    run.write_summary(summary_of(run_of(2), status="interrupted"))
    run.events.write_bytes(as_log(run_of(5, end=False)))
    written = run.summary.stat().st_mtime
    os.utime(run.events, (written + 60, written + 60))
    assert peek(run.path).status is RunStatus.RUNNING
    assert read_run(run.path).report.status is RunStatus.RUNNING
    run.events.write_bytes(as_log(run_of(5)))
    os.utime(run.events, (written + 60, written + 60))
    assert peek(run.path).status is RunStatus.INTERRUPTED


def test_lines_that_cannot_be_read_are_reported(run, run_of, as_log):
    run.events.write_bytes(as_log(run_of(1)) + b'{"kind": "round_completed"}\n')
    start = f"1 line of the log could not be read; line {len(run_of(1)) + 1} of '{run.events}': "
    assert read_run(run.path).unread.startswith(start)


@pytest.mark.parametrize("content", ["{", "{}", '{"run_id": 3}'])
def test_a_broken_summary_is_an_error(run, run_of, as_log, content):
    run.events.write_bytes(as_log(run_of(1)))
    run.summary.write_text(content)
    with pytest.raises(KarnError, match="is not a run summary"):
        read_run(run.path)
    seen = peek(run.path)
    assert seen.status is None
    assert "is not a run summary" in seen.problem


def test_a_log_of_another_version_is_a_problem_of_one_run(run, run_of):
    line = encode_event(run_of(1)[0]).decode().replace('"schema_version":3', '"schema_version":1')
    run.events.write_text(line + "\n")
    assert "has schema version 1" in peek(run.path).problem


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    assert not is_run_directory(tmp_path)
    with pytest.raises(KarnError, match="is not a run directory"):
        read_run(tmp_path)
