"""Reading a log while it grows, breaks, shrinks and is replaced."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_karn import EventReader, KarnError, Problem, fold, resolve_log
from esper_karn.log.reader import CHUNK, PROBLEMS_KEPT
from esper_leyline.events import encode_event


def sequences(events):
    return [event.sequence for event in events]


def test_a_log_is_read_once_and_then_only_what_is_new(tmp_path, run_of, as_log):
    path, events = tmp_path / "events.jsonl", run_of(2)
    path.write_bytes(as_log(events[:10]))
    with EventReader(path) as reader:
        assert list(reader.read()) == events[:10]
        assert list(reader.read()) == []
        with path.open("ab") as file:
            file.write(as_log(events[10:]))
        assert sequences(reader.read()) == sequences(events[10:])
        assert (reader.problems, reader.restarts, reader.torn) == ((), 0, False)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_line_cut_anywhere_waits_for_its_end(data, tmp_path_factory, run_of, as_log):
    events = run_of(1)
    text = as_log(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    read, start = [], 0
    with EventReader(path) as reader:
        for end in [*cuts, len(text)]:
            with path.open("ab") as file:
                file.write(text[start:end])
            start = end
            read += sequences(reader.read())
            assert len(read) == text[:end].count(b"\n")
            assert reader.torn == (end > 0 and text[end - 1 : end] != b"\n")
        assert reader.problem_count == 0
    assert read == sequences(events)


def test_a_missing_log_is_empty(tmp_path, run_of, as_log):
    path = tmp_path / "events.jsonl"
    with EventReader(path) as reader:
        assert list(reader.read()) == []
        path.write_bytes(as_log(run_of(1)))
        assert len(list(reader.read())) == len(run_of(1))


def test_reading_may_stop_in_the_middle_and_continue(tmp_path, run_of, as_log):
    path, events = tmp_path / "events.jsonl", run_of(2)
    path.write_bytes(as_log(events))
    with EventReader(path) as reader:
        first = next(iter(reader.read()))
        assert [first.sequence, *sequences(reader.read())] == sequences(events)


def test_lines_longer_than_a_chunk_are_read(tmp_path, run_of, as_log):
    path, events = tmp_path / "events.jsonl", run_of(1)
    end = json.loads(encode_event(events[-1]))
    end["payload"] = {
        "kind": "run_failed",
        "error": "x" * (2 * CHUNK),
        "rounds_completed": 0,
        "seconds": 0,
    }
    path.write_bytes(as_log(events[:-1]) + json.dumps(end).encode() + b"\n")
    with EventReader(path) as reader:
        *_, last = reader.read()
    assert len(last.payload.error) == 2 * CHUNK


def test_a_malformed_line_is_skipped_counted_and_explained(tmp_path, run_of, as_log):
    path, events = tmp_path / "events.jsonl", run_of(1)
    unknown = encode_event(events[3]).replace(b"seed_stage_changed", b"seed_danced")
    lines = as_log(events).splitlines(keepends=True)
    path.write_bytes(
        b"".join([*lines[:2], b'{"torn": \n', unknown + b"\n", b"\xff\xfe\n", b"\n", *lines[2:]])
    )
    with EventReader(path) as reader:
        assert sequences(reader.read()) == sequences(events)
        assert reader.problem_count == 4
        assert [problem.line for problem in reader.problems] == [3, 4, 5, 6]
        assert "payload" in reader.problems[1].reason
        assert "seed_danced" in reader.problems[1].reason


def test_only_the_first_problems_are_kept(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"?\n" * (PROBLEMS_KEPT + 50))
    with EventReader(path) as reader:
        assert list(reader.read()) == []
        assert len(reader.problems) == PROBLEMS_KEPT
        assert reader.problem_count == PROBLEMS_KEPT + 50


@pytest.mark.parametrize(
    "foreign",
    [{}, {"payload": {"kind": "plateau_detected", "round": 1}}],
)
def test_another_schema_version_is_refused(tmp_path, run_of, foreign):
    path = tmp_path / "events.jsonl"
    record = json.loads(encode_event(run_of(1)[0])) | {"schema_version": 1} | foreign
    path.write_text(json.dumps(record) + "\n")
    with (
        EventReader(path) as reader,
        pytest.raises(
            KarnError,
            match=r"log '.*' has schema version 1, and this Esper reads version 3: read it with",
        ),
    ):
        list(reader.read())


def test_a_truncated_log_is_read_again_from_its_start(tmp_path, run_of, as_log):
    path, events = tmp_path / "events.jsonl", run_of(1)
    path.write_bytes(as_log(events) + b'{"half')
    with EventReader(path) as reader:
        whole = fold(reader.read())
        path.write_bytes(as_log(events[:3]))
        again = list(reader.read())
        assert again == events[:3]
        assert fold(again, whole) is whole
        assert reader.restarts == 1
        assert reader.problems == (
            Problem(len(events) + 1, "unfinished when the file was replaced or truncated"),
        )
        with path.open("ab") as file:
            file.write(as_log(events[3:]))
        assert sequences(reader.read()) == sequences(events[3:])


def test_a_rotated_log_continues_in_the_new_file(tmp_path, run_of, as_log):
    path, events = tmp_path / "events.jsonl", run_of(2)
    path.write_bytes(as_log(events[:5]))
    with EventReader(path) as reader:
        read = sequences(reader.read())
        with path.open("ab") as file:
            file.write(as_log(events[5:8]))
        path.rename(tmp_path / "events.jsonl.1")
        read += sequences(reader.read())
        assert read == sequences(events[:8])
        path.write_bytes(as_log(events[8:]))
        read += sequences(reader.read())
        assert read == sequences(events)
        assert reader.restarts == 1


def test_a_replaced_log_is_read_from_its_start(tmp_path, run_of, as_log):
    path, other = tmp_path / "events.jsonl", tmp_path / "other"
    path.write_bytes(as_log(run_of(1)))
    with EventReader(path) as reader:
        list(reader.read())
        other.write_bytes(as_log(run_of(3, run_id="another")))
        other.replace(path)
        assert {event.run_id for event in reader.read()} == {"another"}


def test_only_the_wanted_kinds_are_read(tmp_path, run_of, as_log):
    path, events = tmp_path / "events.jsonl", run_of(3)
    path.write_bytes(as_log(events) + b"no event\n")
    with EventReader(path, kinds=frozenset({"round_completed"})) as reader:
        assert [event.payload.summary.round for event in reader.read()] == [1, 2, 3]
        assert [problem.line for problem in reader.problems] == [len(events) + 1]


def test_events_belong_to_the_comparison_that_the_first_line_of_their_process_names(
    tmp_path, run_of
):
    path = tmp_path / "events.jsonl"
    first, second, third = run_of(1)[:3]
    groups = [replace(first, group="night"), second, replace(third, boot=1)]
    lines = [encode_event(each, name_run=each is not second) for each in groups]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    with EventReader(path) as reader:
        assert [each.group for each in reader.read()] == ["night", "night", None]


def test_a_folder_in_place_of_a_log_is_one_line(tmp_path):
    with EventReader(tmp_path) as reader, pytest.raises(KarnError, match="is a folder"):
        list(reader.read())


def test_the_log_is_found_at_the_path_in_the_pointer(tmp_path):
    with pytest.raises(KarnError, match="there is no such folder"):
        resolve_log(tmp_path / "nothing")
    with pytest.raises(KarnError, match="is not a run directory"):
        resolve_log(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert resolve_log(tmp_path) == tmp_path / "events.jsonl"
    (tmp_path / "events.path").write_text(f"{tmp_path}/elsewhere/mine.jsonl\n")
    assert resolve_log(tmp_path) == tmp_path / "elsewhere" / "mine.jsonl"


def test_karn_resolves_the_log_that_nissa_redirects(tmp_path):
    from esper_nissa import RunDirectory

    plain = RunDirectory.create(tmp_path / "runs", "mnist1d")
    moved = RunDirectory.create(tmp_path / "runs", "mnist1d", telemetry_dir=tmp_path / "logs")
    assert resolve_log(plain.path) == plain.events
    assert resolve_log(moved.path) == moved.events


_WRITER = """
import sys
from pathlib import Path
from esper_leyline.events import PAYLOADS, RunCompleted, Vitals
from esper_nissa import Hub, JsonlSink
with Hub("run-1", [JsonlSink(Path(sys.argv[1]))], frozenset(PAYLOADS)) as hub:
    for number in range(3000):
        hub.emit(Vitals(cpu_percent=number))
        if number == 1500:
            sys.stdin.readline()
    hub.emit(RunCompleted(status="completed", rounds_completed=0, seconds=1.0))
"""


def test_a_reader_keeps_up_with_a_writer_in_another_process(tmp_path):
    path = tmp_path / "events.jsonl"
    read = []
    command = [sys.executable, "-c", _WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as writer, EventReader(path) as reader:
        while len(read) < 1501:
            assert writer.poll() is None
            read += reader.read()
            time.sleep(0.001)
        assert len(read) == 1501
        writer.stdin.write(b"go on\n")
        writer.stdin.flush()
        while read[-1].kind != "run_completed":
            assert writer.poll() in (None, 0)
            read += reader.read()
            time.sleep(0.001)
        assert writer.wait() == 0
    assert sequences(read) == list(range(3001))
    assert [event.payload.cpu_percent for event in read[:-1]] == list(range(3000))
    assert reader.problem_count == 0
