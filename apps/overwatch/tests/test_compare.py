"""The commands compare, export and scoreboard: what they print and write, and every mistake."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys

import duckdb
import pytest

from esper_leyline import SeedEvent, SeedEventKind, SeedStage, TrainingConfig, override
from esper_leyline.events import (
    PAYLOADS,
    EnvironmentBuilt,
    EpisodeOutcome,
    RoundCompleted,
    RunCompleted,
    RunStarted,
)
from esper_leyline.reports import HostReport
from esper_nissa import Hub, JsonlSink, RunDirectory
from esper_overwatch import main

ROUNDS, HOSTS = 3, 4


def seed_events(number):
    seed = SeedEvent(
        kind=SeedEventKind.GERMINATED,
        slot="r0c0",
        source=SeedStage.DORMANT,
        target=SeedStage.GERMINATED,
        blueprint="norm",
        parameters=500,
    )
    yield seed
    if number > 1:
        yield SeedEvent(
            kind=SeedEventKind.FOSSILIZED,
            slot="r0c0",
            source=SeedStage.HOLDING,
            target=SeedStage.FOSSILIZED,
            blueprint="norm",
            parameters=500,
            contribution=2.0,
        )


def outcome(number, host, gain):
    accuracy = 40.0 + number + gain * (1 + host)
    return EpisodeOutcome(
        rng_seed=100 * number + host,
        episode_return=gain,
        reward_components={},
        ended="horizon",
        best_val_accuracy=accuracy,
        germinated=1,
        fossilized=int(number > 1),
        pruned=0,
        host=HostReport(seeds=(), host_parameters=782, val_accuracy=accuracy),
    )


@pytest.fixture
def write_run(tmp_path, monkeypatch, a_round):
    """Writes a run of three rounds of four hosts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.delenv("COLUMNS", raising=False)

    def write(name, *, gain=0.0, rounds=ROUNDS, task="mnist1d", **settings):
        run = RunDirectory.create(tmp_path / "runs", task)
        config = override(TrainingConfig(task=task), settings)
        run.write_config(config)
        with Hub(name, [JsonlSink(run.events)], frozenset(PAYLOADS)) as hub:
            hub.emit(RunStarted(command="ppo", config=config, versions={}))
            hub.emit(EnvironmentBuilt(slots=("r0c0",), host_parameters=782))
            for number in range(1, rounds + 1):
                for host in range(HOSTS):
                    where = {"round": number, "epoch": 3, "environment": host}
                    for each in seed_events(number):
                        hub.emit(each, **where)
                    hub.emit(outcome(number, host, gain), **where)
                summary = a_round(number, episodes=HOSTS, mean_accuracy=41.0 + number + gain)
                hub.emit(RoundCompleted(summary=summary), round=number)
            hub.emit(RunCompleted(status="completed", rounds_completed=rounds, seconds=65.0))
        return run.path.rename(tmp_path / "runs" / name)

    return write


def printed(capsys, *arguments):
    assert main([*map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_two_runs_side_by_side(write_run, capsys):
    first = write_run("20260101-120000-mnist1d-00000000")
    second = write_run("20260102-120000-mnist1d-11111111", gain=1.0, ppo={"clip": 0.1234567})
    out = printed(capsys, "compare", first, second)
    cells = {re.split(r" {2,}", line.strip())[0]: line.split() for line in out.splitlines()}
    assert "A  20260101-120000-mnist1d-00000000" in out
    assert cells["wall time"][-2:] == ["1:05", "1:05"]
    assert cells["accuracy %, last"][-2:] == ["44.00", "45.00"]
    assert cells["accuracy %, area, rounds 1–3"][-2:] == ["43.00", "44.00"]
    assert cells["seeds fossilized a host"][-2:] == ["0.25", "0.25"]
    assert cells["ppo.clip"] == ["ppo.clip", "0.2", "0.1234567"]
    pair = cells["B minus A"][3:]
    assert pair[:3] == ["12", "+2.50", "+1.76"]
    assert pair[5:] == ["+1.00", "+1.00", "to", "+1.00"]


def test_the_interval_is_that_of_an_evaluation(write_run, capsys):
    from esper_simic.evaluation import estimate_mean

    runs = [write_run("a"), write_run("b", gain=1.0)]
    found = json.loads(printed(capsys, "compare", *runs, "--json"))
    expected = estimate_mean([1.0, 2.0, 3.0, 4.0] * ROUNDS)
    (pair,) = found["paired"]
    assert pair["accuracy"] == {
        "hosts": 12,
        "mean": 2.5,
        "low": expected.low,
        "high": expected.high,
    }
    assert found["runs"][1]["accuracy"] == {"best": 45.0, "last": 45.0, "area": 44.0}
    assert found["differences"] == []


def test_a_comparison_loads_no_torch(write_run):
    runs = [str(write_run("a")), str(write_run("b", gain=1.0))]
    code = (
        "import sys\n"
        "from esper_overwatch import main\n"
        f"assert main(['compare', *{runs!r}]) == 0\n"
        "print(sorted({'torch', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_number_is_cut_at_any_width(write_run, capsys, monkeypatch, width):
    long_name = "b" * 120
    runs = [write_run("a"), write_run(long_name, gain=123456.0, seed=987654321, max_seeds=1)]
    monkeypatch.setenv("COLUMNS", str(width))
    out = printed(capsys, "compare", *runs)
    for number in ("123,500.00", "987654321", "+123456.00", "1:05"):
        assert number in out or number.replace(",", "") in out
    assert "…" not in out
    assert long_name in out.replace("\n", "")


def test_runs_without_a_common_host_say_so(write_run, capsys):
    out = printed(capsys, "compare", write_run("a"), write_run("b", rounds=0))
    assert "B: no host was trained by both it and A" in out
    assert "accuracy %, area, no common round" in out


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_export_holds_what_a_query_answers(write_run, capsys, tmp_path, form):
    runs, to = [write_run("a"), write_run("b", gain=1.0)], tmp_path / "new" / "folder"
    options = ["--to", to, "--format", form, "--tables", "rounds", "outcomes"]
    out = printed(capsys, "export", *runs, *options)
    assert sorted(path.name for path in to.iterdir()) == [f"outcomes.{form}", f"rounds.{form}"]
    assert [line.split()[-1] for line in out.splitlines()[2:]] == ["6", "24"]
    if form == "csv":
        rows = list(csv.DictReader((to / "rounds.csv").read_text(encoding="utf-8").splitlines()))
        found = [(row["run"], int(row["round"]), float(row["mean_accuracy"])) for row in rows]
        assert json.loads(rows[0]["ops"]) == {"WAIT": 5, "GERMINATE": 2}
    else:
        found = duckdb.sql(
            f"SELECT run, round, mean_accuracy FROM '{to}/rounds.parquet'"
        ).fetchall()
    expected = [(run, n, 41.0 + n + gain) for run, gain in (("a", 0), ("b", 1)) for n in (1, 2, 3)]
    assert sorted(found) == expected


def test_an_export_of_all_tables_replaces_its_own_files_only(write_run, capsys, tmp_path):
    run, to = write_run("a"), tmp_path / "it's"
    to.mkdir()
    (to / "notes.txt").write_text("mine")
    (to / "rounds.parquet").write_text("old")
    printed(capsys, "export", run, "--to", to)
    names = {path.name for path in to.iterdir()}
    assert {"notes.txt", "runs.parquet", "events.parquet", "q_values.parquet"} < names
    assert duckdb.sql(
        f"SELECT count(*) FROM '{str(to).replace(chr(39), chr(39) * 2)}/rounds.parquet'"
    )
    assert not [name for name in names if "partial" in name]
    assert (to / "notes.txt").read_text() == "mine"


def test_the_scoreboard_of_a_folder(write_run, capsys, tmp_path):
    write_run("a")
    write_run("b", task="digits", rounds=1)
    out = printed(capsys, "scoreboard", tmp_path / "runs")
    rows = [line.split() for line in out.splitlines() if " norm " in line]
    assert rows == [
        ["digits", "norm", "4", "0", "0", "4", "–", "0", "500", "–"],
        ["mnist1d", "norm", "12", "8", "0", "4", "+2.00", "8", "500", "+4.00"],
    ]
    records = json.loads(printed(capsys, "scoreboard", tmp_path / "runs" / "a", "--json"))
    assert records[0]["contribution_per_1000"] == 4.0


def test_a_scoreboard_without_seeds_says_so(write_run, capsys):
    assert printed(capsys, "scoreboard", write_run("a", rounds=0)) == (
        "no seed germinated in these runs\n"
    )


def mistakes(run, tmp_path):
    old, silent = tmp_path / "runs" / "old", tmp_path / "runs" / "silent"
    for each in (old, silent):
        each.mkdir()
        (each / "config.json").write_text("{}")
    text = (run / "events.jsonl").read_text()
    (old / "events.jsonl").write_text(text.replace('"schema_version":3', '"schema_version":1'))
    (tmp_path / "file").write_text("")
    return {
        ("compare", run, tmp_path / "runs" / "none"): "there is no such folder",
        ("compare", run, tmp_path): "is not a run directory",
        ("compare", run, silent): "silent' cannot be read: it has no event log yet",
        ("compare", run, old): "has schema version 1, and this Esper reads version 3",
        ("compare", run): "one run cannot be compared; name two or more",
        ("compare",): "name a run",
        ("compare", run, run): "have the same name",
        ("export", run, "--to", tmp_path / "file" / "x"): "cannot be used: Not a directory",
        ("export", run, "--to", tmp_path / "file"): "is a file; name a folder",
        ("export", run, "--to", "/proc/none"): "--to /proc/none cannot be used: No such file",
        ("export", run, "--to", tmp_path / "o", "--tables", "round"): (
            "unknown table 'round' (did you mean 'rounds'?); allowed: anomalies,"
        ),
        ("export", "--to", tmp_path / "o"): "name a run",
        ("export", run, "--to", tmp_path / "o", "--format", "xml"): "Invalid value",
        ("scoreboard", tmp_path / "none"): "cannot list runs in",
    }


def test_a_mistake_is_one_line_and_creates_nothing(write_run, capsys, tmp_path):
    for arguments, message in mistakes(write_run("a"), tmp_path).items():
        assert main([*map(str, arguments)]) == 2, arguments
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert message in err
        assert err.count("\n") == 1
        assert not (tmp_path / "o").exists()


def test_runs_of_two_tasks_are_not_compared(write_run, capsys):
    runs = [write_run("a"), write_run("b", task="digits")]
    assert main(["compare", *map(str, runs)]) == 2
    assert capsys.readouterr().err == (
        "error: run 'a' trained mnist1d and run 'b' trained digits; name runs of one task\n"
    )


def test_a_run_whose_log_is_empty_is_refused(write_run, capsys):
    run, empty = write_run("a"), write_run("b")
    (empty / "events.jsonl").write_text("")
    assert main(["compare", str(run), str(empty)]) == 2
    assert capsys.readouterr().err == f"error: run '{empty}' has no event in its log\n"
