"""Runs that cannot be read: each has a problem, and nothing blocks."""

from __future__ import annotations

import os
import socket
import tracemalloc
from contextlib import chdir

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_karn import EventReader, KarnError, is_run_directory, peek, read_run, resolve_log
from esper_karn.log.lines import LineSplitter
from esper_leyline import TrainingConfig
from esper_leyline.run_files import MAX_LINE
from esper_nissa import RunDirectory, next_position

DEEP = b'{"schema_version":' + b"[" * 100_000


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create(tmp_path / "runs", "mnist1d")
    run.write_config(TrainingConfig(task="mnist1d"))
    return run


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # A socket's name has at most 107 bytes.


SPECIAL = {
    "is a named pipe": make_fifo,
    "is a socket": make_socket,
    "is a folder": lambda path: path.mkdir(),
    "symbolic links": lambda path: path.symlink_to(path),
    "is a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("name", ["events.jsonl", "summary.json", "events.path"])
@pytest.mark.parametrize("reason", SPECIAL)
def test_anything_but_a_regular_file_is_refused_without_blocking(run, name, reason):
    path = run.path / name
    path.unlink(missing_ok=True)
    SPECIAL[reason](path)
    assert is_run_directory(run.path)
    with pytest.raises(KarnError, match=reason):
        read_run(run.path)
    seen = peek(run.path)
    assert seen.status is None
    assert name in seen.problem


@pytest.mark.parametrize("content", [b"\0", b"", b"\xff\xfe" * 99, b"x" * 5000, b"y" * 100_000])
def test_any_pointer_gives_a_path_or_an_error(run, content):
    (run.path / "events.path").write_bytes(content)
    run.events.unlink()
    seen = peek(run.path)
    assert seen.problem or seen.rounds_done == 0
    if seen.problem:
        with pytest.raises(KarnError):
            read_run(run.path)


def test_a_summary_nested_too_deeply_is_a_problem_of_that_run(run):
    run.summary.write_bytes(DEEP)
    assert "is not a run summary" in peek(run.path).problem


def test_a_last_line_nested_too_deeply_leaves_the_rest_readable(run, run_of, as_log):
    events = run_of(3, end=False)
    run.events.write_bytes(as_log(events) + DEEP + b"\n")
    seen = peek(run.path)
    assert (seen.rounds_done, seen.problem) == (3, None)
    assert seen.note.startswith("unreadable last line of its log: ")
    record = read_run(run.path)
    assert record.report.rounds_done == 3
    assert f"line {len(events) + 1} of" in record.unread
    assert next_position(run.events, events[0].run_id).sequence == events[-1].sequence + 1


@pytest.mark.parametrize("line", [DEEP + b"\n", b"garbage\n", b"\n", b'{"kind":"x"}\n'])
def test_a_log_without_any_event_is_unreadable(run, line):
    run.events.write_bytes(line * 20)
    with pytest.raises(KarnError, match="has no event: 20 lines of the log could not be read; "):
        read_run(run.path)
    assert peek(run.path).problem.startswith("no event at either end of log ")


@pytest.mark.parametrize("at_end", [True, False])
def test_a_line_over_the_limit_is_skipped_and_counted(run, run_of, as_log, at_end):
    events = run_of(2, end=False)
    long = b"x" * (2 * MAX_LINE) + b"\n"
    log = [as_log(events), long] if at_end else [as_log(events[:9]), long, as_log(events[9:])]
    run.events.write_bytes(b"".join(log))
    with EventReader(run.events) as reader:
        assert list(reader.read()) == events
        assert [problem.reason for problem in reader.problems] == ["it is longer than 4 MiB"]
    seen = peek(run.path)
    assert (seen.task, seen.problem) == ("mnist1d", None)
    assert ("longer than 4 MiB" in (seen.note or "")) == at_end
    assert next_position(run.events, events[0].run_id).sequence == events[-1].sequence + 1


def test_a_long_line_is_not_kept_in_memory(run):
    with run.events.open("wb") as file:
        for _ in range(32):
            file.write(b"x" * (1 << 20))
        file.write(b"\n")
    tracemalloc.start()
    with EventReader(run.events) as reader:
        assert list(reader.read()) == []
        assert reader.problem_count == 1
    assert next_position(run.events, "run-1").sequence == 0
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * MAX_LINE


SHORT = st.binary(max_size=9).map(lambda each: each.replace(b"\n", b"-"))


@given(lines=st.lists(SHORT), cut=st.integers(1, 7))
def test_lines_are_the_same_however_the_bytes_arrive(lines, cut):
    splitter, found = LineSplitter(limit=6), []
    data = b"".join(line + b"\n" for line in lines)
    for start in range(0, len(data), cut):
        found += splitter.feed(data[start : start + cut])
    assert found == [line if len(line) <= 6 else None for line in lines]
    assert not splitter.pending


def test_a_folder_that_cannot_be_read_may_be_a_run(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert is_run_directory(loop)
    assert "symbolic links" in peek(loop).problem
    assert not is_run_directory(tmp_path)


def test_a_run_that_was_deleted_is_a_problem(run):
    path = run.path
    path.rename(path.with_name("gone"))
    assert "there is no such folder" in peek(path).problem
    with pytest.raises(KarnError, match="null byte"):
        resolve_log(path.parent / "a\0b")
