"""Logs that hold anything: no reader fails on them, waits, or keeps them in memory."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esper_karn import VIEWS, EventReader, Folding, KarnError, fold, frame, peek, read_run
from esper_karn.log.log_ends import LogTail, first_event
from esper_leyline.events import encode_event
from esper_leyline.run_files import MAX_LINE
from esper_nissa import NissaError, next_position

PLAN = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**17, 10**18, 10**400, -(10**400), 2**63, 253_402_300_800]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["NaN", "Infinity", "\ud800", "\x1b[2J", "\0"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NOISE = st.one_of(
    st.binary(max_size=60),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(
        [
            b"",
            b"\0" * 50,
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'{"schema_version":' + b"9" * 5_000 + b"}",
            b'{"payload":"\\ud800"}',
            b"\xff\xfe{}",
            b"-",
            b"1e999999",
        ]
    ),
)


def damaged(data, record):
    """A record with some values in it replaced, or a line with some bytes replaced."""
    if data.draw(st.booleans()):
        line = bytearray(json.dumps(record).encode())
        for _ in range(data.draw(st.integers(0, 3))):
            line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
        return bytes(line)
    return json.dumps(replaced(data, record)).encode()


def replaced(data, value):
    if isinstance(value, dict):
        name = data.draw(st.sampled_from(sorted(value)))
        return value if name == "schema_version" else {**value, name: replaced(data, value[name])}
    if isinstance(value, list) and value:
        return [replaced(data, value[0]), *value[1:]]
    return data.draw(VALUES)


def refusal(read):
    """The error for people with which a reader refuses a log, ``None`` without one."""
    try:
        read()
    except (KarnError, NissaError) as error:
        return str(error)
    return None


@PLAN
@given(data=st.data())
def test_a_log_of_arbitrary_bytes_is_read_to_its_end(data, tmp_path, run_of):
    (tmp_path / "config.json").write_text("{}")
    log = tmp_path / "events.jsonl"
    records = [json.loads(encode_event(event)) for event in run_of(2)]
    lines = [json.dumps(record).encode() for record in records]
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(lines) - 1))
        noise = data.draw(st.booleans())
        lines[place] = data.draw(NOISE) if noise else damaged(data, records[place])
    lines = [line.replace(b"\n", b"-") for line in lines]
    end = data.draw(st.sampled_from([b"\n", b"", b'\n{"torn']))
    log.write_bytes(b"\n".join(lines) + end)

    events = []
    with EventReader(log) as reader:
        refused = refusal(lambda: events.extend(reader.read()))
    if refused is None:
        assert len(events) + reader.problem_count == len(lines) - (end == b"")
    else:
        assert "has schema version" in refused
    state = fold(events)
    for view in (*VIEWS, "host/0"):
        frame(state, view, -1)
    peek(tmp_path)
    for read in (
        lambda: list(LogTail(log).events()),
        lambda: first_event(log),
        lambda: read_run(tmp_path),
        lambda: next_position(log, "another"),
    ):
        assert "\n" not in (refusal(read) or "")


@pytest.mark.parametrize("content", [b"\0", b"["])
def test_a_line_of_200_mb_is_skipped_in_little_memory(content, tmp_path, run_of, as_log):
    log, events = tmp_path / "events.jsonl", run_of(1)
    with log.open("wb") as file:
        file.write(as_log(events[:5]))
        block = content * (1 << 20)
        for _ in range(200):
            file.write(block)
        file.write(b"\n" + as_log(events[5:]))
    tracemalloc.start()
    folding = Folding()
    with EventReader(log) as reader:
        folding.take_all(reader.read())
        assert reader.problem_count == 1
    list(LogTail(log).events())
    assert next_position(log, events[0].run_id).sequence == len(events)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert folding.sequence == events[-1].sequence
    assert peak < 4 * MAX_LINE
