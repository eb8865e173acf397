"""The sql command: its three formats, and one line for every mistake."""

from __future__ import annotations

import csv
import io
import json

import pytest

from esper_leyline import TrainingConfig
from esper_leyline.events import PAYLOADS, PlateauDetected, RoundCompleted, RunFailed, RunStarted
from esper_nissa import Hub, JsonlSink, RunDirectory
from esper_overwatch import main


@pytest.fixture
def runs(tmp_path, monkeypatch, a_round):
    """A folder with two runs; the second failed with a text that would colour a terminal."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.delenv("COLUMNS", raising=False)
    folder = tmp_path / "runs"
    for name in ("first", "second"):
        run = RunDirectory.create(folder, "mnist1d")
        run.write_config(TrainingConfig(task="mnist1d"))
        with Hub(name, [JsonlSink(run.events)], frozenset(PAYLOADS)) as hub:
            hub.emit(RunStarted(command="ppo", config=TrainingConfig(task="mnist1d"), versions={}))
            for number in (1, 2):
                hub.emit(
                    RoundCompleted(summary=a_round(number, mean_return=float("nan"))), round=number
                )
            hub.emit(PlateauDetected(epochs_without_improvement=3), round=2, environment=0)
            if name == "second":
                hub.emit(RunFailed(error="\x1b[31mred\n2", rounds_completed=2, seconds=1.0))
        run.path.rename(folder / name)
    return folder


def printed(capsys, *arguments):
    assert main(["sql", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_a_query_prints_a_table(runs, capsys):
    out = printed(capsys, "SELECT run, count(*) AS n FROM rounds GROUP BY 1", "--runs", str(runs))
    assert sorted(out.splitlines()[2:]) == ["first   2", "second  2"]


def test_a_single_run_may_be_named(runs, capsys):
    out = printed(capsys, "FROM rounds SELECT DISTINCT run", "--runs", str(runs / "first"))
    assert out.split() == ["run", "─────", "first"]


def test_csv_and_json_hold_every_value(runs, capsys):
    query = "SELECT run, round, mean_return, ops, time, NULL AS none FROM rounds ORDER BY ALL"
    rows = list(
        csv.DictReader(io.StringIO(printed(capsys, query, "--runs", str(runs), "--format", "csv")))
    )
    assert len(rows) == 4
    assert (rows[0]["run"], rows[0]["mean_return"], rows[0]["none"]) == ("first", "NaN", "")
    assert json.loads(rows[0]["ops"]) == {"WAIT": 5, "GERMINATE": 2}
    records = json.loads(printed(capsys, query, "--runs", str(runs), "--format", "json"))
    assert records[0]["ops"] == {"WAIT": 5, "GERMINATE": 2}
    assert records[0]["mean_return"] == "NaN"
    assert records[0]["none"] is None
    assert records[0]["time"] == rows[0]["time"]


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_text_from_a_log_cannot_reach_the_terminal_as_a_command(runs, capsys, form):
    query = "SELECT error FROM runs WHERE error IS NOT NULL"
    out = printed(capsys, query, "--runs", str(runs), "--format", form)
    assert "\x1b" not in out
    assert "red" in out
    assert len([line for line in out.splitlines() if "red" in line]) == 1


@pytest.mark.parametrize("width", [10, 30, 60, 80, 120])
def test_a_table_fits_any_width(runs, capsys, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    out = printed(capsys, "SELECT * FROM rounds ORDER BY ALL", "--runs", str(runs))
    assert max(map(len, out.splitlines())) <= width
    if width == 80:
        assert "left out at 80 columns:" in out


def test_the_schema_lists_every_view(runs, capsys):
    out = printed(capsys, "--schema", "--runs", str(runs))
    assert "rounds: one finished round; accuracies in percent" in out
    assert "mean_accuracy DOUBLE" in out


def test_an_empty_result_prints_no_rows(runs, capsys):
    assert printed(capsys, "SELECT run FROM shapley", "--runs", str(runs)).endswith("no rows\n")
    assert (
        printed(capsys, "SELECT run FROM shapley", "--runs", str(runs), "--format", "json")
        == "[]\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["SELECT acuracy FROM rounds"], "no column 'acuracy'; did you mean rounds.mean_accuracy"),
        (["DROP TABLE rounds"], "only SELECT, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN are answered"),
        ([], "name a query, for example"),
        (["SELECT 1", "--format", "xml"], "Invalid value"),
        (["SELECT 1", "--runs", "/no/such"], "cannot list runs in '/no/such'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(runs, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(runs.parent)
    assert main(["sql", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_without_the_extra_one_line_says_what_to_install(runs, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["sql", "SELECT 1", "--runs", str(runs)]) == 2
    assert capsys.readouterr().err == (
        "error: 'esper-overwatch sql' needs duckdb, which is not installed; run: pip install "
        "'esper-overwatch[sql]', or in a clone of Esper: uv sync --extra sql\n"
    )
