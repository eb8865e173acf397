"""How long the processes worked that wrote a log before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import RunStatus, TrainingConfig
from esper_leyline.events import Event, RunCompleted, RunFailed, RunStarted, encode_event
from esper_nissa import EarlierWork, NissaError, earlier_work, next_position

STARTED = RunStarted(command="ppo", config=TrainingConfig(), versions={})
FAILED = RunFailed(error="no run_started here", rounds_completed=0, seconds=1.0)
COMPLETED = RunCompleted(status=RunStatus.COMPLETED, rounds_completed=1, seconds=1.0)


def log_of(boots):
    """A log with a list of times since its start for each process."""
    lines, sequence = [], 0
    for boot, times in enumerate(boots):
        for number, monotonic in enumerate(times):
            event = Event(
                run_id="a",
                boot=boot,
                sequence=sequence,
                monotonic=monotonic,
                wall_time=1000.0 * (boot + 1) + monotonic,
                payload=STARTED if number == 0 else (FAILED, COMPLETED)[number % 2],
            )
            lines.append(encode_event(event) + b"\n")
            sequence += 1
    return b"".join(lines)


BOOTS = st.lists(
    st.lists(st.floats(0, 1e5), min_size=1, max_size=5).map(sorted), min_size=1, max_size=5
)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "events.jsonl"


@given(BOOTS)
def test_the_last_times_of_all_processes_are_added(log, boots):
    log.write_bytes(log_of(boots))
    found = earlier_work(log)
    assert found.started == pytest.approx(1000.0 + boots[0][0], abs=0.01)
    assert found.seconds == pytest.approx(sum(times[-1] for times in boots), abs=0.01)
    assert next_position(log, "a").boot == len(boots)


def test_lines_that_are_no_event_do_not_count(log):
    text = log_of([[0.0, 2.0], [0.5, 3.0]])
    lines = text.splitlines(keepends=True)
    log.write_bytes(b"".join([b"\x00\n", *lines[:2], b"run_started\n", *lines[2:], b'{"torn']))
    assert earlier_work(log) == EarlierWork(started=1000.0, seconds=5.0)


def test_a_log_without_an_event_has_no_earlier_work(log, tmp_path):
    log.write_bytes(b"")
    assert earlier_work(log) == EarlierWork() == earlier_work(tmp_path / "missing")


def test_a_log_of_another_version_is_one_line(log):
    log.write_bytes(log_of([[0.0]]).replace(b'"schema_version":3', b'"schema_version":1'))
    with pytest.raises(NissaError, match="has schema version 1"):
        earlier_work(log)
