"""The commands: their output, and one line for every mistake."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from esper_leyline import RunStatus, RunSummary, TrainingConfig, override
from esper_leyline.events import PAYLOADS, EpochCompleted, RoundCompleted, RunStarted
from esper_leyline.reports import HostReport
from esper_nissa import Hub, JsonlSink, RunDirectory, RunLock
from esper_overwatch import main
from esper_overwatch.commands.runs import list_runs, show_run

NOW = 1_735_740_000.0


def started():
    return RunStarted(
        command="ppo",
        config=override(
            TrainingConfig(task="mnist1d"), {"n_episodes": 30, "n_envs": 2, "max_epochs": 20}
        ),
        versions={},
    )


@pytest.fixture
def runs(tmp_path, monkeypatch, a_round, finish):
    """A folder with a finished, an interrupted, a running, and a broken run, and other things."""
    folder = tmp_path / "runs"
    monkeypatch.setattr("esper_nissa.hub.time.time", lambda: NOW - 12)
    for number, name in enumerate(["finished", "stopped", "running", "broken"]):
        run = RunDirectory.create(folder, "mnist1d")
        run.write_config(TrainingConfig(task="mnist1d"))
        if name == "finished":
            finish(run, started=NOW - 300)
        if name == "stopped":
            finish(run, started=NOW - 300, status="interrupted", rounds=(), seconds=10.0)
        if name == "running":
            with Hub(run.run_id, [JsonlSink(run.events)], frozenset(PAYLOADS)) as hub:
                hub.emit(started())
                hub.emit(RoundCompleted(summary=a_round(1)), round=1)
                hub.emit(an_epoch(), round=2, epoch=1, environment=0)
        if name == "broken":
            run.summary.write_text("{}")
        run.path.rename(folder / f"20250101-12000{number}-mnist1d-{name}")
    (folder / "notes.txt").write_text("not a run")
    (folder / "empty").mkdir()
    return folder


def an_epoch():
    return EpochCompleted(host=HostReport(train_loss=2.0, seeds=(), host_parameters=782))


def printed(call, width=120):
    console = Console(file=io.StringIO(), width=width, _environ={})
    call(console)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


WIDE = """\
run                               task     status       rounds  return  acc %  last event
20250101-120003-mnist1d-broken    –        unreadable        0       –      –  –
20250101-120002-mnist1d-running   mnist1d  running        1/30   -0.50   51.0  12 s ago
20250101-120001-mnist1d-stopped   mnist1d  interrupted   0/100       –      –  5 min ago
20250101-120000-mnist1d-finished  mnist1d  completed         3   +1.50   53.0  2 min ago
"""


def test_the_list_shows_every_run_the_latest_first(runs):
    lines = printed(lambda console: list_runs(runs, console, now=NOW))
    assert lines[:5] == WIDE.splitlines()
    (problem,) = lines[5:]
    assert problem.startswith("20250101-120003-mnist1d-broken: '")
    assert "is not a run summary: run_id: Field required" in problem


def test_a_narrow_list_fits_without_cutting_an_id(runs):
    lines = printed(lambda console: list_runs(runs, console, now=NOW), width=80)
    assert max(len(line) for line in lines[:5]) <= 80
    assert lines[1].startswith("20250101-120003-mnist1d-broken ")
    assert lines[3].split() == [
        *("20250101-120001-mnist1d-stopped", "interrupted", "0/100", "–", "–", "5", "min", "ago")
    ]


def test_show_prints_the_closing_table_of_an_ended_run(runs):
    run = runs / "20250101-120000-mnist1d-finished"
    lines = printed(lambda console: show_run(run, console, now=NOW))
    assert lines[0] == "run 20250101-120000-mnist1d-finished"
    assert lines[3].split() == ["1", "-0.50", "51.0", "60.0", "5", "2", "2", "1", "0", "33"]
    assert "ppo on mnist1d completed: 3 rounds in 3:00" in lines
    assert lines[-1] == "parameters grown: 33 a host in the last round, born with 782"


def test_show_prints_the_rounds_so_far_of_a_running_run(runs):
    run = runs / "20250101-120002-mnist1d-running"
    log = run / "events.jsonl"
    with log.open("ab") as file:
        file.write(b'{"round_completed"\n')
    lines = printed(lambda console: show_run(run, console, now=NOW))
    assert "ppo on mnist1d running: 1 round" in lines
    assert lines[-2] == "running, last event epoch_completed 12 s ago"
    assert lines[-1].startswith(f"1 line of the log could not be read; line 4 of '{log}': ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "{}/nothing"], "cannot list runs in '{}/nothing': No such file or directory; "),
        (["list", "{}/a_file"], "cannot list runs in '{}/a_file': Not a directory; "),
        (["list", "{}"], "no runs in '{}'"),
        (["list", "{}/run"], "no runs in '{}/run'; it is a run itself: esper-overwatch show {}/"),
        (["show", "{}/nothing"], "no run '{}/nothing': there is no such folder"),
        (["show", "{}"], "'{}' is not a run directory: it holds neither config.json nor events"),
        (["show", "{}/run"], "'{}/run/summary.json' is not a run summary: "),
        (["picture", "{}/nothing"], "no run '{}/nothing': there is no such folder"),
        (
            ["picture", "{}/run"],
            "the log of run (without an event) has no epoch of a host; train with ",
        ),
        (["show"], 'Command "show" parameter RUN requires an argument'),
        (["list", "--deep"], "Unknown option: --deep."),
        (["shw", "x"], 'Unknown command "shw". Did you mean "show"?'),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(tmp_path, capsys, arguments, message):
    (tmp_path / "a_file").write_text("x")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    (tmp_path / "run" / "summary.json").write_text("broken")
    if arguments == ["list", "{}"]:
        (tmp_path / "run" / "config.json").unlink()
    code = main([part.replace("{}", str(tmp_path)) for part in arguments])
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.startswith("error: " + message.replace("{}", str(tmp_path)))
    assert err.count("\n") == 1


def test_the_commands_print_and_return_0(runs, capsys, monkeypatch):
    monkeypatch.chdir(runs.parent)
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["list"]) == 0
    assert "20250101-120000-mnist1d-finished" in capsys.readouterr().out
    assert main(["show", str(runs / "20250101-120000-mnist1d-finished")]) == 0
    assert "3 rounds in 3:00" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "list" in capsys.readouterr().out


def test_a_picture_is_written_to_the_file_that_is_named(runs, capsys):
    run, out = runs / "20250101-120002-mnist1d-running", runs.parent / "growing.svg"
    assert main(["picture", str(run), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"picture: {out}\n"
    assert out.read_text(encoding="utf-8").startswith("<svg ")
    assert main(["picture", str(run), "--out", str(runs / "nothing" / "a.svg")]) == 2
    assert "a.svg': No such file or directory; name a file in a folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "show", "picture"])
def test_a_log_of_schema_version_1_is_refused_in_one_line(runs, capsys, tmp_path, command):
    run = runs / "20250101-120002-mnist1d-running"
    log = run / "events.jsonl"
    log.write_text(log.read_text().replace('"schema_version":3', '"schema_version":1'))
    refusal = (
        f"event log '{log}' has schema version 1, and this Esper reads version 3: "
        "read it with the Esper that wrote it, or train again"
    )
    if command == "list":
        lines = printed(lambda console: list_runs(runs, console, now=NOW), width=400)
        assert f"{run.name}: {refusal}" in lines
        return
    out = ["--out", str(tmp_path / "growing.svg")] if command == "picture" else []
    assert main([command, str(run), *out]) == 2
    assert capsys.readouterr().err == f"error: {refusal}\n"


_HELP = """
import json, sys
from esper_overwatch.cli import main
code = main(["--help"])
heavy = [name for name in ("torch", "numpy", "esper_karn") if name in sys.modules]
print(json.dumps([code, heavy]))
"""


def test_help_loads_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", _HELP], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]


def test_listing_reads_no_log_where_there_is_a_summary(runs, monkeypatch):
    for name in ("running", "broken"):
        (run,) = runs.glob(f"*-{name}")
        (run / "config.json").unlink()
        (run / "events.jsonl").unlink()
    monkeypatch.setattr("esper_karn.log.log_ends.open_regular", None)
    lines = printed(lambda console: list_runs(runs, console, now=NOW))
    assert len(lines) == 3


def test_an_interrupted_run_is_shown_with_the_command_that_resumes_it(runs):
    run = next(each for each in sorted(runs.iterdir()) if (each / "summary.json").exists())
    summary = RunSummary.model_validate_json((run / "summary.json").read_text())
    changes = {"status": RunStatus.INTERRUPTED, "resume": "uv run esper-train ppo --resume x"}
    (run / "summary.json").write_text(summary.model_copy(update=changes).model_dump_json())
    shown = printed(lambda console: show_run(run, console, now=NOW))
    assert shown[-1] == "resume with: uv run esper-train ppo --resume x"


def test_a_crashed_run_is_called_crashed_with_the_command_that_resumes_it(runs):
    run = runs / "20250101-120002-mnist1d-running"
    RunLock(run, "ppo").release()
    command = f"resume with: cd {Path.cwd()} && uv run esper-train ppo --resume {run}"
    said = "crashed: its process is gone; last event epoch_completed 12 s ago"
    shown = printed(lambda console: show_run(run, console, now=NOW))
    assert shown[-2:] == [said, command]
    listed = printed(lambda console: list_runs(runs, console, now=NOW))
    assert listed[2].split()[2] == "crashed"
    assert listed[-2:] == [f"{run.name}: {said}", command]
