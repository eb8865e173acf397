"""Resuming in a directory whose log is damaged, or whose earlier events lie in the future."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from esper_karn import EventReader, fold, peek, read_run
from esper_leyline import RunStatus
from esper_leyline.events import Phase
from esper_nissa import NissaError, RunDirectory
from esper_overwatch import main as overwatch
from esper_train.checkpoints.resumption import Resumption
from esper_train.interrupts import StopRequest
from esper_train.session import RunSession
from esper_train.settings.options import PPO_FLAGS, SourceOptions, TelemetryOptions
from esper_train.settings.resolve import Plan, plan_ppo

DAY = 86_400.0


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_ppo(PPO_FLAGS(device="cpu"), SourceOptions(preset="mnist1d_blind"))


@pytest.fixture
def process(plan, tmp_path) -> Callable[..., Path]:
    """What each process of a run writes, without the training: returns the run directory."""
    telemetry = TelemetryOptions(runs=tmp_path / "runs", no_tui=True)

    def write(resumption: Resumption | None = None) -> Path:
        session = RunSession("ppo", plan, telemetry, StopRequest(), resumption=resumption)
        with session:
            session.phase(Phase.TRAINING)
            session.status = RunStatus.INTERRUPTED
        return session.directory.path

    return write


def resumption(run: Path, plan: Plan) -> Resumption:
    return Resumption(path=run, config=plan.config, directory=RunDirectory.open(run))


def torn(log: Path) -> None:
    os.truncate(log, log.stat().st_size - 30)


def add(content: bytes) -> Callable[[Path], None]:
    def change(log: Path) -> None:
        with log.open("ab") as file:
            file.write(content)

    return change


def add_long_line(log: Path) -> None:
    """A line of 200 MB; a file that grows by ``truncate`` is filled with zeros."""
    os.truncate(log, log.stat().st_size + 200_000_000)


DAMAGES: dict[str, tuple[Callable[[Path], None], int]] = {
    "nothing": (lambda _: None, 0),
    "torn": (torn, 1),
    "garbage": (add(b"\xff\xfe\x1b[2J garbage\n{]\n\n"), 3),
    "NUL bytes, as after a power cut": (add(b"\0" * 5000), 1),
    "a line of 200 MB": (add_long_line, 1),
    "an event without an end": (add(b'{"schema_version":2,"run_id":"'), 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGES)
def test_a_run_continues_its_damaged_log_under_a_new_boot(name, process, plan):
    damage, problems = DAMAGES[name]
    run = process()
    before = (run / "events.jsonl").read_bytes()
    damage(run / "events.jsonl")
    assert process(resumption(run, plan)) == run
    assert (run / "events.jsonl").read_bytes().startswith(before[:-30])
    with EventReader(run / "events.jsonl") as reader:
        events = list(reader.read())
        assert reader.problem_count == problems
    assert [each.sequence for each in events] == list(range(len(events)))
    assert {each.boot for each in events} == {0, 1}
    assert {each.run_id for each in events} == {run.name}
    assert fold(events).status is RunStatus.INTERRUPTED
    assert peek(run).problem is None


@pytest.mark.parametrize("how", ["removed", "empty"])
def test_a_missing_log_is_reported_and_a_new_one_begins(how, process, plan, capsys):
    run = process()
    log = run / "events.jsonl"
    log.unlink() if how == "removed" else os.truncate(log, 0)
    capsys.readouterr()
    process(resumption(run, plan))
    said = f"event log '{log}' is missing or holds no event: a new one begins"
    assert said in capsys.readouterr().out
    assert peek(run).problem is None


def test_a_log_of_another_run_is_refused_and_nothing_is_changed(process, plan):
    run, other = process(), process()
    log, summary = run / "events.jsonl", (run / "summary.json").read_bytes()
    log.write_bytes((other / "events.jsonl").read_bytes())
    before = log.read_bytes()
    with pytest.raises(NissaError, match=f"is of run '{other.name}', not of '{run.name}'"):
        process(resumption(run, plan))
    assert log.read_bytes() == before
    assert (run / "summary.json").read_bytes() == summary
    log.unlink()
    process(resumption(run, plan))
    assert peek(run).problem is None


def test_a_clock_that_was_set_back_between_two_processes(process, plan, monkeypatch, capsys):
    """Events are ordered by their numbers, and durations come from the monotonic clock."""
    run, real = process(), time.time
    with monkeypatch.context() as early:
        early.setattr(time, "time", lambda: real() - DAY)
        process(resumption(run, plan))
    (run / "summary.json").unlink()
    with EventReader(run / "events.jsonl") as reader:
        events = list(reader.read())
    assert [each.sequence for each in events] == list(range(len(events)))
    walls = [each.wall_time for each in events]
    assert max(walls) - walls[-1] > DAY / 2
    report = read_run(run).report
    assert report.status is RunStatus.INTERRUPTED
    assert 0 <= report.seconds < 600
    capsys.readouterr()
    assert overwatch(["list", str(run.parent)]) == 0
    assert overwatch(["show", str(run)]) == 0
    said = capsys.readouterr().out
    assert "in the future" not in said
    assert " -" not in said.replace(" --", "")


def test_a_clock_that_is_set_back_while_a_run_is_crashed(process, plan, monkeypatch, capsys):
    """Its last event lies in the future, and that is what is shown."""
    run, real = process(), time.time
    log = run / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if json.loads(line)["sequence"] < len(lines) - 1))
    (run / "summary.json").unlink()
    monkeypatch.setattr(time, "time", lambda: real() - DAY)
    capsys.readouterr()
    assert overwatch(["list", str(run.parent)]) == 0
    assert overwatch(["show", str(run)]) == 0
    said = capsys.readouterr().out
    assert said.count("crashed: its process is gone; last event") == 2
    assert said.count("in the future") >= 2
    process(resumption(run, plan))
    with EventReader(log) as reader:
        events = list(reader.read())
    assert [each.sequence for each in events] == list(range(len(events)))
