"""Runs as a database: what logs say, what a damaged log or cache changes, what is refused."""

from __future__ import annotations

import math
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from esper_karn import EventReader, KarnError
from esper_karn.analytics import cache as cache_module
from esper_karn.analytics.database import open_runs
from esper_karn.analytics.tables import TABLES
from esper_karn.analytics.views import VIEWS
from esper_leyline import SeedEvent, SeedEventKind, SeedStage
from esper_leyline.events import PAYLOADS, Event, RunResumed, encode_event
from esper_leyline.lifecycle.gates import Gate, GateResult
from esper_leyline.profiles import HostProfile, LayerProfile, Sharpness


def ask(caches, runs, sql):
    with open_runs(runs, caches) as database:
        assert database.warning is None
        return list(database.query(sql).rows)


def parquet_files(caches):
    return sorted(caches.rglob("*.parquet"))


def test_the_views_hold_what_the_log_says(caches, write_run):
    run = write_run()
    with open_runs([run], caches) as database:
        query = lambda sql: list(database.query(sql).rows)  # noqa: E731
        assert query(
            "SELECT run, task, status, rounds, planned_rounds, host_parameters FROM runs"
        ) == [("a", "mnist1d", "completed", 4, 4, 782)]
        assert query("SELECT count(*), max(val_accuracy), count(val_accuracy) FROM epochs") == [
            (24, 46.0, 16)
        ]
        assert query("SELECT round, mean_accuracy, ops['WAIT'] FROM rounds ORDER BY round") == [
            (number, 40.0 + 5.0 * number, 3) for number in range(1, 5)
        ]
        assert query(
            "SELECT fate, count(*), max(contribution) FROM seeds GROUP BY 1 ORDER BY 1"
        ) == [
            ("fossilized", 4, 1.5),
            ("pruned", 4, 1.5),
        ]
        assert query("SELECT kind, subject FROM anomalies") == [("numerical_instability", "loss")]
        assert query("SELECT count(*), max(episode_return) FROM outcomes") == [(8, 3.0)]
        assert query("SELECT DISTINCT stage FROM seed_epochs ORDER BY 1") == [
            *(("BLENDING",), ("FOSSILIZED",), ("TRAINING",)),
        ]


def test_nan_and_infinity_of_the_log_arrive_as_such(caches, write_run):
    (row,) = ask(caches, [write_run()], "SELECT kl, value_loss FROM updates WHERE round = 3")
    assert math.isnan(row[0])
    assert row[1] == math.inf


def test_every_view_answers_for_a_run_without_an_event_too(caches, write_run):
    runs = [write_run("full"), write_run("empty", b"")]
    with open_runs(runs, caches) as database:
        for view in VIEWS:
            assert database.query(f"SELECT * FROM {view}").columns
        assert list(database.query("SELECT run, events, problem FROM runs ORDER BY 1").rows) == [
            ("empty", None, None),
            ("full", 88, None),
        ]


def test_every_kind_of_event_is_in_the_view_of_events(caches, write_run, run_of):
    counted = dict(ask(caches, [write_run()], "SELECT kind, count(*) FROM events GROUP BY 1"))
    kinds = [event.kind for event in run_of()]
    assert counted == {kind: kinds.count(kind) for kind in set(kinds)}
    covered = {kind for source in TABLES["events"].sources for kind in source.kinds}
    assert covered == set(PAYLOADS)


def test_values_that_a_log_leaves_out_have_their_defaults(caches, write_run, run_of):
    full = TypeAdapter(Event)
    lean = write_run("lean")
    whole = write_run("whole", b"".join(full.dump_json(event) + b"\n" for event in run_of()))
    for sql in ("SELECT * EXCLUDE (run) FROM epochs", "SELECT * EXCLUDE (run) FROM seed_epochs"):
        rows = ask(caches, [lean, whole], sql.replace("epochs", "epochs WHERE run = 'lean'"))
        assert rows == ask(
            caches, [lean, whole], sql.replace("epochs", "epochs WHERE run = 'whole'")
        )
        assert rows


def test_empty_collections_have_their_defaults_only_where_they_belong(caches, write_run, run_of):
    seed = next(event for event in run_of() if event.kind == "seed_germinated")
    passed = SeedEvent(
        kind=SeedEventKind.GATE_EVALUATED,
        slot="r0c0",
        source=SeedStage.TRAINING,
        target=SeedStage.BLENDING,
        gate=GateResult(gate=Gate.G2, passed_checks=("a",)),
    )
    events = [seed, replace(seed, sequence=seed.sequence + 1, payload=passed)]
    run = write_run(text=b"".join(encode_event(each) + b"\n" for each in events))
    asked = "SELECT gate, failed_checks FROM seed_events ORDER BY sequence"
    assert ask(caches, [run], asked) == [(None, None), ("g2", [])]


def test_the_views_of_profiles_hold_all_that_was_measured(caches, write_run, run_of, as_log):
    profile = HostProfile(
        profile="research",
        layers=(
            LayerProfile(
                name="stem",
                gradient_norm=0.5,
                gradient_percentiles={5: 0.0, 50: 0.1, 95: math.inf},
                zero_share=0.25,
                exploding_share=0.125,
                weight_norm=2.0,
            ),
            LayerProfile(name="head", weight_norm=3.0),
        ),
        class_accuracy=(50.0, None),
        sharpness=Sharpness(radius=0.1, directions=4, mean_rise=0.2, largest_rise=0.4),
        seconds=0.5,
    )
    plain = HostProfile(profile="standard", seconds=0.25)
    events = [
        replace(event, payload=payload, round=1, environment=0, epoch=epoch)
        for epoch, (event, payload) in enumerate(zip(run_of(1), (profile, plain), strict=False), 1)
    ]
    with open_runs([write_run("a", as_log(events))], caches) as database:
        layers = database.query("SELECT * EXCLUDE (run, sequence, time) FROM layers")
        assert list(layers.rows) == [
            (1, 0, 1, "research", "stem", 0.5, 0.0, 0.1, math.inf, 0.25, 0.125, 2.0),
            (1, 0, 1, "research", "head", *[None] * 6, 3.0),
        ]
        found = database.query("SELECT * EXCLUDE (run, sequence, time) FROM profiles")
        assert list(found.rows) == [
            (1, 0, 1, "research", [50.0, None], 0.2, 0.4, 0.1, 4, 0.5),
            (1, 0, 2, "standard", [], *[None] * 4, 0.25),
        ]


def test_a_growing_log_is_read_on_and_an_unfinished_line_waits(caches, write_run, run_of, as_log):
    text = as_log(run_of())
    cut = text.index(b"\n", len(text) // 2) + 100
    run = write_run(text=text[:cut])
    before = ask(caches, [run], "SELECT count(*) FROM events")[0][0]
    assert before == text[:cut].count(b"\n")
    files = parquet_files(caches)
    with (run / "events.jsonl").open("ab") as file:
        file.write(text[cut:])
    assert ask(caches, [run], "SELECT count(*), count(DISTINCT sequence) FROM events") == [(88, 88)]
    assert set(files) < set(parquet_files(caches))
    assert ask(caches, [run], "SELECT count(*) FROM rounds") == [(4,)]


def test_an_unchanged_log_is_not_read_again(caches, write_run, monkeypatch):
    run = write_run()
    ask(caches, [run], "SELECT 1")
    monkeypatch.setattr("esper_karn.analytics.log_part.open_regular", None)
    assert ask(caches, [run], "SELECT count(*) FROM rounds") == [(4,)]


def test_a_replaced_log_and_a_removed_run_leave_nothing_behind(caches, write_run, run_of):
    run, other = write_run("a"), write_run("b")
    assert ask(caches, [run, other], "SELECT count(*) FROM rounds") == [(8,)]
    write_run("a", rounds=2)
    assert ask(caches, [run, other], "SELECT run, count(*) FROM rounds GROUP BY 1 ORDER BY 1") == [
        *(("a", 2), ("b", 4)),
    ]
    shutil.rmtree(other)
    assert ask(caches, [run], "SELECT count(*) FROM rounds") == [(2,)]


def test_rounds_that_a_resumed_run_trained_again_count_once(caches, write_run, run_of, as_log):
    events = run_of(rounds=3, end=False)
    last = events[-1].sequence
    resumed = replace(
        events[0],
        sequence=last + 1,
        boot=1,
        payload=RunResumed(checkpoint="checkpoints/1", rounds_completed=1),
    )
    again = [
        replace(event, sequence=last + 2 + number, boot=1)
        for number, event in enumerate(each for each in run_of(rounds=4) if (each.round or 0) > 1)
    ]
    run = write_run(text=as_log([*events, resumed, *again]))
    assert ask(caches, [run], "SELECT round, count(*) FROM rounds GROUP BY 1 ORDER BY 1") == [
        *((1, 1), (2, 1), (3, 1), (4, 1)),
    ]
    assert ask(caches, [run], "SELECT count(*) FROM outcomes") == [(8,)]


def test_a_log_of_another_schema_version_is_named_and_the_others_are_read(
    caches, write_run, as_log, run_of
):
    old = write_run("old", as_log(run_of()).replace(b'"schema_version":3', b'"schema_version":1'))
    runs = [old, write_run("new")]
    with open_runs(runs, caches) as database:
        assert "has schema version 1" in database.runs[0].problem
        assert list(database.query("SELECT DISTINCT run FROM events").rows) == [("new",)]


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "manifest", "format"])
def test_a_broken_cache_is_rebuilt(caches, write_run, damage):
    run = write_run()
    expected = ask(caches, [run], "SELECT * FROM rounds ORDER BY round")
    path = next(each for each in parquet_files(caches) if each.name == "rounds.parquet")
    (manifest,) = caches.rglob("manifest.json")
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-20])
    elif damage == "flip":
        path.write_bytes(content[:40] + bytes(len(content) - 48) + content[-8:])
    elif damage == "missing":
        path.unlink()
    elif damage == "manifest":
        manifest.write_bytes(manifest.read_bytes()[:-30])
    else:
        text = manifest.read_text()
        start = text.index('"format":"') + 10
        manifest.write_text(text[:start] + "0" * 16 + text[start + 16 :])
    assert ask(caches, [run], "SELECT * FROM rounds ORDER BY round") == expected


@pytest.mark.slow
def test_many_small_segments_are_merged(caches, write_run, run_of, as_log):
    text = as_log(run_of(rounds=12))
    lines = text.splitlines(keepends=True)
    run = write_run(text=b"")
    for number in range(1, 13):
        (run / "events.jsonl").write_bytes(b"".join(lines[: len(lines) * number // 12]))
        # A file that was written again keeps its inode, and its start.
        ask(caches, [run], "SELECT 1")
    assert ask(caches, [run], "SELECT count(*), count(DISTINCT sequence) FROM events") == [
        (len(lines), len(lines))
    ]
    (manifest,) = caches.rglob("manifest.json")
    found = cache_module.read_manifest(manifest.parent)
    assert len(found.segments) <= cache_module.MOST_SEGMENTS


def test_without_a_cache_the_answer_is_the_same_and_a_warning_says_why(tmp_path, write_run):
    blocked = tmp_path / "a_file"
    blocked.write_text("x")
    with open_runs([write_run()], blocked) as database:
        assert "cannot use the cache in" in database.warning
        assert list(database.query("SELECT count(*) FROM rounds").rows) == [(4,)]


def test_names_with_quotes_brackets_and_stars_are_only_names(caches, write_run):
    names = ["it's", "a[1]*", 'say "x"', "ünïcode"]
    runs = [write_run(name) for name in names]
    found = ask(caches, runs, "SELECT run, count(*) FROM rounds GROUP BY 1")
    assert dict(found) == dict.fromkeys(names, 4)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT acuracy FROM rounds", "no column 'acuracy'; did you mean rounds.mean_accuracy"),
        ("SELECT x.mean FROM rounds x", "no column 'mean'; did you mean rounds.mean_return"),
        ("SELECT * FROM epoch", "no table 'epoch'; did you mean epochs or seed_epochs?"),
        ("SELECT * FROM zzz", "no table 'zzz'; there are rounds, runs, epochs"),
        ("SELEC 1", 'the query failed: Parser Error: syntax error at or near "SELEC"'),
        ("", "the query is empty; name one, for example"),
        ("SELECT 1; SELECT 2", "one query is answered at a time, and there are 2"),
        ("INSERT INTO runs VALUES (1)", "only SELECT, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN"),
        ("EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1", "are answered, and this is CREATE"),
        ("SET threads = 1", "are answered, and this is SET"),
        ("COPY rounds TO 'x.csv'", "are answered, and this is COPY"),
        ("ATTACH 'x.db'", "are answered, and this is ATTACH"),
        ("INSTALL httpfs", "are answered, and this is LOAD"),
        ("SELECT * FROM read_text('/etc/hostname')", "file system operations are disabled"),
        ("SELECT * FROM read_csv('/etc/hostname')", "file system operations are disabled"),
        ("SELECT * FROM glob('/etc/*')", "file system operations are disabled"),
        ("SELECT * FROM '/etc/hostname'", "no table '/etc/hostname'"),
        ("SELECT CAST(run AS INTEGER) FROM runs", "the query failed: Conversion Error"),
    ],
)
def test_a_query_that_is_not_answered_gets_one_line(caches, write_run, sql, message):
    with (
        open_runs([write_run()], caches) as database,
        pytest.raises(KarnError) as caught,
    ):
        list(database.query(sql).rows)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "sql", ["DESCRIBE rounds", "SHOW TABLES", "SUMMARIZE rounds", "EXPLAIN SELECT 1", "FROM runs"]
)
def test_statements_that_only_read_are_answered(caches, write_run, sql):
    assert ask(caches, [write_run()], sql)


def test_two_runs_of_one_name_are_refused(caches, write_run, tmp_path):
    run = write_run()
    copy = tmp_path / "copies" / "a"
    shutil.copytree(run, copy)
    with pytest.raises(KarnError, match="have the same name"), open_runs([run, copy], caches):
        pass


GARBAGE = st.one_of(
    st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"")),
    st.sampled_from(
        [
            *(b"", b"{}", b"null", b"[1]", b'{"payload":{"kind":"vitals"}}', b'"\x1f"', b"{\x00}"),
            b'{"schema_version":3,"run_id":"x","sequence":"a","payload":7}',
            *(b"{" * 3000, b"[" * 3000, b'{"a":' * 900 + b"1" + b"}" * 900, b"\xff\xfe{}"),
            b'{"sequence":99999999999999999999999,"wall_time":1e308,"payload":{"kind":"vitals"}}',
        ]
    ),
)


@contextmanager
def temporary_run(text):
    with TemporaryDirectory() as folder:
        run = Path(folder) / "runs" / "a"
        run.mkdir(parents=True)
        (run / "events.jsonl").write_bytes(text)
        yield run, Path(folder) / "caches"


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    garbage=st.lists(st.tuples(st.integers(0, 50), GARBAGE), max_size=6), cut=st.integers(0, 4000)
)
def test_garbage_and_a_torn_end_are_skipped_as_the_reader_does(run_of, as_log, garbage, cut):
    lines = as_log(run_of(rounds=2)).splitlines()
    for place, line in garbage:
        lines.insert(place, line)
    text = b"\n".join(lines) + b"\n"
    with temporary_run(text[: len(text) - cut]) as (run, caches):
        with EventReader(run / "events.jsonl") as reader:
            expected = [(event.sequence, event.kind) for event in reader.read()]
        with open_runs([run], caches) as database:
            found = list(database.query("SELECT sequence, kind FROM events ORDER BY sequence").rows)
            assert database.runs[0].unread == reader.problem_count
    assert found == sorted(set(expected))


def test_a_line_over_the_limit_is_skipped(caches, write_run, run_of, as_log):
    text = as_log(run_of())
    first = text.index(b"\n") + 1
    run = write_run(text=text[:first] + b'{"a":"' + b"x" * (5 << 20) + b'"}\n' + text[first:])
    with open_runs([run], caches) as database:
        assert database.runs[0].unread == 1
        assert list(database.query("SELECT count(*) FROM events").rows) == [(88,)]
