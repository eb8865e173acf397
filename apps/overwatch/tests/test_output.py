"""Output of the commands to files, pipes and terminals, for runs with unusual content."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from esper_leyline import TrainingConfig
from esper_nissa import RunDirectory
from esper_overwatch import main

PROGRAM = shlex.quote(str(Path(sys.executable).with_name("esper-overwatch")))
BAD = "run-\x1b[31m-\x9b2J-\r-\a-\u202e-\nend"
SHOWN = "run-\\x1b[31m-\\x9b2J-\\r-\\x07-\\u202e-\\nend"
BIG = 10**12 - 1


@pytest.fixture
def make_run(a_round, finish):
    """Makes a finished run with large counts."""
    ops = dict.fromkeys(("WAIT", "GERMINATE", "SET_ALPHA_TARGET", "PRUNE", "ADVANCE"), BIG)
    large = {"mean_return": -1234.5, "ops": ops, "germinated": BIG, "fossilized": BIG}
    rounds = tuple(a_round(number, **large, pruned=BIG) for number in (1, 2))

    def make(folder, name, **changes):
        made = RunDirectory.create(folder, "mnist1d")
        made.write_config(TrainingConfig(task="mnist1d"))
        finish(made, **{"rounds": rounds} | changes)
        return made.path.rename(folder / name)

    return make


def bash(line, **environment):
    variables = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        capture_output=True,
        text=True,
        check=False,
        env=variables | environment,
    )


def test_a_pipe_has_all_columns_on_one_line(tmp_path, make_run):
    run = make_run(tmp_path, "run")
    done = bash(f"{PROGRAM} show '{run}' | cat")
    lines = done.stdout.splitlines()
    (head,) = [row for row in lines if row.startswith("round")]
    for name in ("wait", "germinate", "set alpha", "prune", "advance", "fossilized", "grown"):
        assert name in head
    (row,) = [row for row in lines if row.startswith("1 ")]
    assert row.count("999,999,999,999") == 8
    assert "left out" not in done.stdout
    narrow = bash(f"{PROGRAM} show '{run}' | cat", COLUMNS="60").stdout
    assert "left out at 60 columns: wait, " in " ".join(narrow.split())


def test_names_and_errors_are_escaped_on_every_path(tmp_path, capsys, monkeypatch, make_run):
    monkeypatch.delenv("COLUMNS", raising=False)
    folder = tmp_path / BAD
    broken = make_run(folder, f"{BAD}-broken")
    (broken / "summary.json").write_text("{}")
    running = make_run(folder, f"{BAD}-running")
    (running / "summary.json").unlink()
    (running / "events.jsonl").write_text("garbage\n")
    failed = make_run(folder, f"{BAD}-failed", task=BAD, error=BAD, command=BAD, status="failed")
    lists = [["list", str(folder)], ["show", str(failed)]]
    mistakes = [
        ["list", str(tmp_path / BAD / BAD)],
        ["show", str(running)],
        ["show", str(broken)],
        ["show", str(tmp_path / BAD)],
        ["show", "a", BAD],
        [BAD],
        ["list", f"--{BAD}"],
    ]
    for columns in ("20", "80", None):
        if columns is not None:
            monkeypatch.setenv("COLUMNS", columns)
        for arguments in (*lists, *mistakes):
            assert main(arguments) == (0 if arguments in lists else 2)
            out, err = capsys.readouterr()
            for text in (*out.split("\n"), *err.split("\n")):
                assert text.isprintable(), text
            assert "\\x1b[31m" in out + err


def test_an_error_names_the_path(tmp_path, capsys):
    assert main(["show", str(tmp_path / BAD)]) == 2
    assert capsys.readouterr().err.startswith(f"error: no run '{tmp_path}/{SHOWN}': ")


def test_the_list_reports_an_unreadable_last_line_of_a_log(tmp_path, capsys, make_run, a_round):
    from esper_leyline.events import PAYLOADS, RoundCompleted
    from esper_nissa import Hub, JsonlSink

    run = make_run(tmp_path, "run")
    (run / "summary.json").unlink()
    log = run / "events.jsonl"
    with Hub("run", [JsonlSink(log)], frozenset(PAYLOADS)) as hub:
        hub.emit(RoundCompleted(summary=a_round(1)))
    with log.open("a") as file:
        file.write('{"kind": "broken"}\n')
    assert main(["list", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "run: unreadable last line of its log: " in " ".join(out.split())


@pytest.mark.parametrize("command", ["list '{}'", "show '{}/run'", "--help"])
def test_output_to_a_full_disk_is_an_error(tmp_path, command, make_run):
    make_run(tmp_path, "run")
    line = f"{PROGRAM} {command.format(tmp_path)}"
    done = bash(f"{line} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("redirection", ["| head -n 0", ">&-"])
def test_output_to_a_closed_pipe_is_discarded(tmp_path, redirection, make_run):
    make_run(tmp_path, "run")
    done = bash(f"{PROGRAM} list '{tmp_path}' {redirection}")
    assert (done.returncode, done.stderr) == (0, "")
