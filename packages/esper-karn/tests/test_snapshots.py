"""Snapshots: a log that is opened again, or seen at a moment, gives what a whole fold gives."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_karn import RunReader, fold
from esper_karn.log.reader import EventReader
from esper_karn.snapshots import run_reader, snapshot, store
from esper_karn.snapshots.store import SnapshotStore


@pytest.fixture(autouse=True)
def every_ten_events(monkeypatch):
    monkeypatch.setattr(run_reader, "EVERY", 10)


@pytest.fixture
def log(tmp_path, run_of, as_log):
    path = tmp_path / "run" / "events.jsonl"
    path.parent.mkdir()
    path.write_bytes(as_log(run_of(4)))
    return path


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def state_of(log, cache):
    with RunReader(log, cache) as run:
        return run.read()


def files(cache):
    return sorted(cache.rglob("*.snapshot"))


def lines_read(log, cache, monkeypatch):
    """Returns the state of a log, and how many of its lines were parsed."""
    parsed = []
    parse = EventReader._parse
    with monkeypatch.context() as patch:
        patch.setattr(
            EventReader, "_parse", lambda self, line: parsed.append(line) or parse(self, line)
        )
        state = state_of(log, cache)
    return state, len(parsed)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_log_opened_again_at_any_length_gives_the_state_of_one_fold(
    data, tmp_path_factory, run_of, as_log
):
    events = run_of(data.draw(st.integers(1, 4)))
    lines = as_log(events).splitlines(keepends=True)
    folder = tmp_path_factory.mktemp("any")
    log, cache = folder / "events.jsonl", folder / "cache"
    for end in sorted(data.draw(st.sets(st.integers(1, len(lines)), min_size=1, max_size=5))):
        log.write_bytes(b"")
        with log.open("r+b") as file:  # the same file, as a trainer leaves it
            file.write(
                b"".join(lines[:end]) + lines[end][:9] if end < len(lines) else as_log(events)
            )
        assert repr(state_of(log, cache)) == repr(fold(events[:end]))


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_run_at_any_moment_is_the_fold_up_to_it(data, tmp_path_factory, run_of, as_log):
    events = run_of(3)
    folder = tmp_path_factory.mktemp("moment")
    (folder / "events.jsonl").write_bytes(as_log(events))
    with RunReader(folder / "events.jsonl", folder / "cache") as run:
        if data.draw(st.booleans()):
            run.read()
        for moment in data.draw(st.lists(st.integers(-1, len(events) + 3), max_size=4)):
            assert repr(run.read_at(moment)) == repr(fold(events[: moment + 1]))


def test_only_events_after_the_latest_snapshot_are_read_again(log, cache, run_of, monkeypatch):
    events = run_of(4)
    state, parsed = lines_read(log, cache, monkeypatch)
    assert parsed == len(events)
    assert [int(path.stem) for path in files(cache)] == list(range(9, len(events), 10))
    again, parsed = lines_read(log, cache, monkeypatch)
    assert parsed == len(events) % 10
    assert repr(again) == repr(state)


def test_a_moment_is_at_most_one_interval_from_a_snapshot(log, cache, run_of, monkeypatch):
    taken = []
    with RunReader(log, cache) as run:
        run.read()
        take = run_reader.Folding.take
        monkeypatch.setattr(
            run_reader.Folding, "take", lambda self, event: taken.append(event) or take(self, event)
        )
        for moment in range(len(run_of(4))):
            taken.clear()
            run.read_at(moment)
            assert len(taken) <= 9


def test_a_run_that_grows_gets_its_snapshots_on_the_way(log, cache, run_of, as_log):
    lines = as_log(run_of(4)).splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:25]))
    with RunReader(log, cache) as run:
        run.read()
        assert len(files(cache)) == 2
        with log.open("ab") as file:
            file.write(b"".join(lines[25:32]))
        assert repr(run.read()) == repr(fold(run_of(4)[:32]))
        assert len(files(cache)) == 3


def test_nothing_is_written_into_the_run(log, cache):
    state_of(log, cache)
    assert [path.name for path in log.parent.iterdir()] == ["events.jsonl"]


class Opened:
    """Writes a file when it is loaded by pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-9] + b"\x00" * 9,
        lambda content: content.replace(b'"line":', b'"line":1', 1).replace(b"{", b"[", 1),
        lambda content: content.partition(b"\n")[0] + b"\n",
        lambda content: b"\xff" * 400,
        lambda content: b"{" * 100_000,
    ],
    ids=["empty", "half", "end", "header", "body", "binary", "nested"],
)
def test_damaged_snapshots_are_ignored_and_written_again(damage, log, cache):
    state = state_of(log, cache)
    good = {path: path.read_bytes() for path in files(cache)}
    for path, content in good.items():
        path.write_bytes(damage(content))
    assert repr(state_of(log, cache)) == repr(state)
    assert {path: path.read_bytes() for path in files(cache)} == good


def test_a_pickle_in_the_cache_is_never_loaded(log, cache, tmp_path):
    state = state_of(log, cache)
    for path in files(cache):
        path.write_bytes(pickle.dumps(Opened(tmp_path / "opened")))
    assert repr(state_of(log, cache)) == repr(state)
    assert not (tmp_path / "opened").exists()


def test_a_snapshot_that_would_unpack_to_very_much_is_ignored(log, cache, monkeypatch):
    state = state_of(log, cache)
    monkeypatch.setattr(snapshot, "LARGEST_STATE", 1000)
    assert repr(state_of(log, cache)) == repr(state)


def test_snapshots_of_a_replaced_log_are_not_used(log, cache, run_of, as_log):
    state_of(log, cache)
    other = run_of(3, run_id="another")
    replacement = log.with_name("new")
    replacement.write_bytes(as_log(other))
    replacement.replace(log)
    assert repr(state_of(log, cache)) == repr(fold(other))
    assert repr(state_of(log, cache)) == repr(fold(other))


def test_a_log_that_is_replaced_while_it_is_followed_starts_again(log, cache, run_of, as_log):
    with RunReader(log, cache) as run:
        run.read()
        before = run.stream
        other = run_of(2, end=False)
        replacement = log.with_name("new")
        replacement.write_bytes(as_log(other))
        replacement.replace(log)
        # The sequence numbers are those of events that were folded, and still they count.
        assert repr(run.read()) == repr(fold(other))
        assert run.stream != before


def test_a_log_that_is_emptied_while_it_is_followed_has_the_initial_state(log, cache):
    with RunReader(log, cache) as run:
        run.read()
        log.write_bytes(b"")
        assert run.read().cursor.sequence == -1


def test_a_log_that_was_cut_is_read_from_its_start(log, cache, run_of, as_log):
    state_of(log, cache)
    log.write_bytes(b"".join(as_log(run_of(4)).splitlines(keepends=True)[:5]))
    assert repr(state_of(log, cache)) == repr(fold(run_of(4)[:5]))


def test_snapshots_of_other_code_are_not_used(log, cache, monkeypatch, run_of):
    state_of(log, cache)
    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "code_digest", lambda: "other")
        _, parsed = lines_read(log, cache, patch)
        assert parsed == len(run_of(4))
    _, parsed = lines_read(log, cache, monkeypatch)
    assert parsed == len(run_of(4))


def test_the_code_of_the_reducer_and_of_events_is_part_of_a_snapshot(monkeypatch, tmp_path):
    before = snapshot.code_digest.__wrapped__()
    (tmp_path / "__init__.py").write_text("changed = True\n")
    monkeypatch.setattr(snapshot.state_package, "__file__", str(tmp_path / "__init__.py"))
    assert snapshot.code_digest.__wrapped__() != before


def test_the_snapshots_of_all_runs_stay_below_a_limit(tmp_path, cache, run_of, as_log, monkeypatch):
    logs = [tmp_path / f"{name}.jsonl" for name in "abc"]
    for log in logs:
        log.write_bytes(as_log(run_of(4)))
    state_of(logs[0], cache)
    limit = 2 * sum(path.stat().st_size for path in files(cache))
    monkeypatch.setattr(store.SnapshotStore.__init__, "__defaults__", (limit,))
    for log in logs:
        assert repr(state_of(log, cache)) == repr(fold(run_of(4)))
        assert sum(path.stat().st_size for path in files(cache)) <= limit
    assert SnapshotStore(cache, logs[2]).latest() is not None


def test_a_cache_that_cannot_be_written_does_no_harm(log, tmp_path, run_of):
    (tmp_path / "file").write_bytes(b"")
    assert repr(state_of(log, tmp_path / "file" / "cache")) == repr(fold(run_of(4)))


def test_without_a_cache_the_whole_log_is_folded(log, run_of):
    with RunReader(log) as run:
        assert repr(run.read()) == repr(fold(run_of(4)))
        assert repr(run.read_at(17)) == repr(fold(run_of(4)[:18]))


def test_readers_of_one_cache_do_not_disturb_each_other(log, cache, run_of, monkeypatch):
    expected = repr(fold(run_of(4)))
    monkeypatch.setattr(store.SnapshotStore.__init__, "__defaults__", (20_000,))
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: repr(state_of(log, cache)), range(40))
    assert set(found) == {expected}


def test_a_log_that_is_not_there_yet_has_the_initial_state(tmp_path, cache):
    with RunReader(tmp_path / "events.jsonl", cache) as run:
        assert run.read().cursor.sequence == -1
        assert run.read_at(3).cursor.sequence == -1
