"""The console view: its output as in ``golden/``, and how it follows a running run."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from esper_karn import ClosingTable, ConsoleView, KarnError, RunReport, fold, follow
from esper_karn.console.progress_line import progress_line
from esper_leyline import RunStatus, RunSummary, override
from esper_leyline.events import Phase, RoundCompleted, RunPhase, encode_event

GOLDEN = Path(__file__).parent / "golden"


def text_console(width=120, **options):
    return Console(file=io.StringIO(), width=width, _environ={}, **options)


def text_of(console):
    """What was printed, without the blanks that tables end their lines with."""
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def written(path, events, as_log):
    path.write_bytes(as_log(events))
    return path


@pytest.mark.parametrize("width", [80, 120])
def test_a_whole_run_is_printed_as_in_the_golden_file(width, tmp_path, run_of, as_log):
    console = text_console(width)
    log = written(tmp_path / "events.jsonl", run_of(30), as_log)
    state = follow(log, console, stop=lambda: False)
    console.print(ClosingTable(state.report))
    assert text_of(console) == (GOLDEN / f"run_{width}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 120])
def test_a_summary_is_printed_as_in_the_golden_file(width, run_of):
    rounds = [event.payload.summary for event in run_of(3) if event.kind == "round_completed"]
    summary = RunSummary(
        run_id="r",
        command="ppo",
        task="mnist1d",
        status="interrupted",
        started=0.0,
        seconds=3725.0,
        rounds=tuple(rounds),
        host_parameters=782,
        mean_test_accuracy=61.25,
        peak_memory_mb=1612.3,
    )
    console = text_console(width)
    console.print(ClosingTable(RunReport.of(summary)))
    assert text_of(console) == (GOLDEN / f"summary_{width}.txt").read_text(encoding="utf-8")


def test_no_line_of_a_table_is_wider_than_the_console(run_of):
    for width in (80, 100, 120, 160):
        console = text_console(width)
        console.print(ClosingTable(fold(run_of(40)).report))
        assert max(len(line) for line in text_of(console).splitlines()) <= width


def test_the_table_of_a_run_without_rounds_is_its_status():
    console = text_console()
    summary = RunSummary(
        run_id="r",
        command="heuristic",
        task="mnist1d",
        status="failed",
        error="NissaError: disk full",
        started=0.0,
        seconds=2.0,
        rounds=(),
        host_parameters=None,
    )
    console.print(ClosingTable(RunReport.of(summary)))
    assert text_of(console) == (
        "heuristic on mnist1d failed: no round finished in 0:02; NissaError: disk full\n"
    )


@pytest.mark.parametrize("update_first", [False, True])
def test_a_round_is_printed_once_with_its_update(run_of, update_first):
    console = text_console(160)
    with ConsoleView(console, interactive=False) as view:
        for event in run_of(3, update_first=update_first):
            view.feed(event)
            view.feed(event)
    lines = [line for line in text_of(console).splitlines() if line.startswith("round")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert "KL 0.001  entropy 0.89" in lines[0]
    assert "1 rolled back" in lines[1]
    assert "KL NaN" in lines[2]
    assert "update skipped: the loss is not finite" in lines[2]


@pytest.mark.parametrize("width", [80, 120])
def test_the_line_of_a_round_has_the_causes_of_rollbacks(run_of, width):
    (completed,) = [event for event in run_of(1) if event.kind == "round_completed"]
    causes = {"rollbacks": 3, "rollback_causes": {"divergence": 2, "non_finite": 1}}
    summary = completed.payload.summary.model_copy(update=causes)
    unstable = replace(completed, payload=RoundCompleted(summary=summary))
    console = text_console(width)
    with ConsoleView(console, interactive=False) as view:
        view.feed(unstable)
    assert text_of(console).endswith("3 rolled back: 2 divergence, 1 non_finite\n")


def test_a_round_without_an_update_is_printed_when_the_next_begins(run_of):
    events = [event for event in run_of(2, end=False) if event.kind != "ppo_update"]
    first_of_two = next(number for number, event in enumerate(events) if event.round == 2)
    console = text_console()
    with ConsoleView(console, interactive=False) as view:
        for event in events[:first_of_two]:
            view.feed(event)
        assert "round" not in text_of(console).splitlines()[-1].split(";")[0]
        view.feed(events[first_of_two])
        assert text_of(console).splitlines()[-1].startswith("round 1/2")
        for event in events[first_of_two + 1 :]:
            view.feed(event)
    assert text_of(console).splitlines()[-1].startswith("round 2/2")


def test_a_round_without_a_policy_is_printed_at_once(run_of):
    console = text_console()
    view = ConsoleView(console, interactive=False)
    for event in run_of(1, policy=None, end=False):
        view.feed(event)
    last = text_of(console).splitlines()[-1]
    assert last.startswith("round 1/1")
    assert "KL" not in last


def test_a_terminal_has_a_progress_line(run_of):
    console = text_console(force_terminal=True, color_system=None)
    events = run_of(4)
    with ConsoleView(console, interactive=True) as view:
        for event in events[:40]:
            view.feed(event)
            view.refresh()
        drawn = console.file.getvalue()
        view.refresh()
        assert console.file.getvalue() == drawn
    assert "starting" in drawn
    assert "round 1/4" in drawn
    assert "host epoch 3/6  accuracy 40.0 %  ETA" in drawn
    assert "round 2/4" in drawn


def test_plain_output_has_no_escape_codes(tmp_path, run_of, as_log):
    console = text_console()
    log = written(tmp_path / "events.jsonl", run_of(2), as_log)
    console.print(ClosingTable(follow(log, console, stop=lambda: False).report))
    assert "\x1b" not in console.file.getvalue()


def test_no_color_is_honoured(run_of, tmp_path, as_log):
    log = written(tmp_path / "events.jsonl", run_of(2), as_log)
    colour = text_console(force_terminal=True)
    none = Console(
        file=io.StringIO(),
        width=120,
        force_terminal=True,
        _environ={"NO_COLOR": "1", "TERM": "xterm"},
    )
    for console in (colour, none):
        console.print(
            ClosingTable(follow(log, console, stop=lambda: False, interactive=False).report)
        )
    assert "\x1b[32m" in colour.file.getvalue()
    assert "\x1b[32m" not in none.file.getvalue()


def test_follow_ends_when_the_process_is_gone(tmp_path, run_of, as_log):
    log = written(tmp_path / "events.jsonl", run_of(3, end=False), as_log)
    with log.open("ab") as file:
        file.write(b'garbage\n{"torn')
    console = text_console(160)
    asked = iter([False, True])
    state = follow(log, console, stop=lambda: next(asked), poll=0.001)
    assert not state.ended
    assert state.report.rounds_done == 3
    lines = text_of(console).splitlines()
    assert lines[-3].startswith("round 3/3")
    assert lines[-2] == "the run's process is gone and its log has no end"
    where = f"line {len(run_of(3))} of '{log}': "
    assert lines[-1].startswith(f"1 line of the log could not be read; {where}")


def test_follow_refuses_a_log_of_another_version(tmp_path, run_of):
    path = tmp_path / "events.jsonl"
    line = encode_event(run_of(1)[0]).decode().replace('"schema_version":3', '"schema_version":1')
    path.write_text(line + "\n")
    with pytest.raises(KarnError, match="has schema version 1"):
        follow(path, text_console(), stop=lambda: False)


_WRITER = """
import importlib.util, sys, time
from pathlib import Path
from esper_leyline.events import PAYLOADS
from esper_nissa import Hub, JsonlSink
spec = importlib.util.spec_from_file_location("made", sys.argv[1])
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)
with Hub("live", [JsonlSink(Path(sys.argv[2]))], frozenset(PAYLOADS)) as hub:
    for event in made.make_events(6, end=sys.argv[3] == "ends"):
        where = {name: getattr(event, name) for name in ("round", "epoch", "environment")}
        hub.emit(event.payload, **where)
        time.sleep(0.001)
    while sys.argv[3] != "ends":
        time.sleep(1)
"""


def writer(path, how):
    made = str(Path(__file__).parent / "conftest.py")
    return subprocess.Popen([sys.executable, "-c", _WRITER, made, str(path), how])


def test_follow_ends_with_a_running_run(tmp_path):
    path, console = tmp_path / "events.jsonl", text_console()
    with writer(path, "ends") as process:
        state = follow(path, console, stop=lambda: process.poll() is not None, poll=0.002)
    assert state.status is RunStatus.COMPLETED
    rounds = [line.split()[1] for line in text_of(console).splitlines() if line[:6] == "round "]
    assert rounds == [f"{number}/6" for number in range(1, 7)]


def test_follow_prints_everything_that_a_killed_run_wrote(tmp_path):
    path, console = tmp_path / "events.jsonl", text_console()
    with writer(path, "hangs") as process:

        def gone():
            if path.exists() and b'"round":6' in path.read_bytes():
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
            return process.poll() is not None

        state = follow(path, console, stop=gone, poll=0.002)
    assert state.status is RunStatus.RUNNING
    assert state.report.rounds_done >= 5
    assert text_of(console).splitlines()[-1] == "the run's process is gone and its log has no end"


def test_a_pending_round_is_printed_before_the_last_line(tmp_path, run_of, as_log):
    events = run_of(2)
    last = max(at for at, event in enumerate(events) if event.kind == "round_completed")
    cut = [
        event for event in events[: last + 1] if event.round != 2 or event.kind == "round_completed"
    ]
    log, console = written(tmp_path / "events.jsonl", cut, as_log), text_console()
    follow(log, console, stop=lambda: True)
    lines = text_of(console).splitlines()
    assert lines[-2].startswith("round 2/2")
    assert lines[-1] == "the run's process is gone and its log has no end"


def test_follow_sleeps_between_two_reads(tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr("esper_karn.console.console_view.time.sleep", slept.append)
    asked = iter([False, False, False, True])
    follow(tmp_path / "events.jsonl", text_console(), stop=lambda: next(asked), poll=0.25)
    assert slept == [0.25] * 3


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (60, "round 3/4  " + "━" * 12 + "─" * 8 + "  host epoch 2/6  ETA 0:17"),
        (50, "round 3/4  host epoch 2/6  ETA 0:17  +1"),
        (30, "round 3/4  ETA 0:17  +2"),
        (15, "round 3/4  +3"),
    ],
)
def test_the_progress_line_counts_parts_that_do_not_fit(run_of, width, line):
    state = fold(run_of(4)[:51])
    assert progress_line(state, width) == line


@pytest.mark.parametrize(
    ("telemetry", "words", "missing"),
    [
        ({"level": "normal"}, "host epoch 2/6", "needs"),
        ({"level": "minimal"}, "host epoch needs --telemetry-level normal", "2/6"),
    ],
)
def test_the_progress_line_says_which_level_it_needs(run_of, telemetry, words, missing):
    state = fold(run_of(4)[:51])
    config = override(state.started.config, {"telemetry": telemetry})
    state = replace(state, started=state.started.model_copy(update={"config": config}))
    line = progress_line(state, 200)
    assert words in line
    assert missing not in line


def test_a_run_without_rounds_in_its_log_says_which_level_they_need(run_of):
    console = text_console()
    first, *_ = run_of(1)
    config = override(first.payload.config, {"telemetry": {"level": "off", "lifecycle_only": True}})
    payload = first.payload.model_copy(update={"config": config})
    with ConsoleView(console, interactive=False) as view:
        view.feed(replace(first, payload=payload))
    assert text_of(console) == "rounds: needs --telemetry-level minimal\n"


@pytest.mark.parametrize(
    ("phase", "line"),
    [
        (None, "starting"),
        (Phase.PREPARING_DATA, "preparing data"),
        (Phase.STARTING_WORKERS, "starting workers"),
    ],
)
def test_the_progress_line_names_the_phase_of_a_start(run_of, phase, line):
    started = run_of(1)[0]
    events = [started]
    if phase is not None:
        update = {"sequence": 1, "payload": RunPhase(phase=phase)}
        events.append(replace(started, **update))
    assert progress_line(fold(events), 80) == line


def test_the_progress_line_names_the_phases_after_the_start(run_of):
    events = run_of(1)[:2]
    for phase, words in ((Phase.COMPILING, "round 1/1 compiling"), (Phase.TRAINING, "round 1/1  ")):
        update = {"sequence": len(events), "payload": RunPhase(phase=phase)}
        events = [*events, replace(events[0], **update)]
        assert progress_line(fold(events), 80).startswith(words)


def test_parts_that_do_not_fit_are_named_once(run_of):
    console = text_console(60)
    with ConsoleView(console, interactive=False) as view:
        for event in run_of(5):
            view.feed(event)
    lines = text_of(console).splitlines()
    assert max(map(len, lines)) <= 60
    assert [line for line in lines if "left out" in line] == [
        "left out at 60 columns: KL, entropy",
    ]
