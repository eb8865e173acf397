"""The golden logs: real, small, of this schema, and enough for every screen and state."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_karn import VIEWS, EventReader, Folding, RunReader, RunState, encode_frame, fold, frame
from esper_leyline import RunStatus, SeedStage
from esper_leyline.events import PAYLOADS, SCHEMA_VERSION
from esper_leyline.health import Level

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))

from everything import record_everything  # noqa: E402
from million import read_golden, write_repeated  # noqa: E402

NAMES = ("default", "sixteen", "crashed", "everything")
AGAIN = "record them again: uv run --no-sync python tests/golden/record.py"


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The events of every golden log."""
    folder, found = tmp_path_factory.mktemp("golden"), {}
    for name in NAMES:
        log = folder / f"{name}.jsonl"
        log.write_bytes(read_golden(name))
        first = json.loads(log.read_bytes().partition(b"\n")[0])
        assert first["schema_version"] == SCHEMA_VERSION, AGAIN
        with EventReader(log) as reader:
            found[name] = list(reader.read())
            assert not reader.problems, AGAIN
    return found


def test_golden_logs_are_small():
    sizes = {path.name: path.stat().st_size for path in GOLDEN.glob("*.gz")}
    assert set(sizes) == {f"{name}.jsonl.gz" for name in NAMES}
    assert sum(sizes.values()) <= 3_000_000


def test_every_kind_and_every_stage_is_in_the_log_of_everything(logs):
    events = logs["everything"]
    assert {event.kind for event in events} == set(PAYLOADS) - {"run_completed"}
    state, shown = Folding(), set()
    for event in events:
        state.take(event)
        if event.kind == "epoch_completed":
            shown |= {
                slot.stage for each in state.state().environments for slot in each.episode.slots
            }
    assert shown == set(SeedStage) - {SeedStage.UNKNOWN}


def test_the_log_of_everything_is_what_its_code_writes(tmp_path, logs):
    record_everything(tmp_path)
    with EventReader(tmp_path / "events.jsonl") as reader:
        written = list(reader.read())
    # By text, because NaN is not equal to itself; the configuration may have new fields.
    for new, old in zip(written, logs["everything"], strict=True):
        assert new.kind == "run_started" or repr(new) == repr(old), AGAIN


def test_the_log_of_everything_has_bad_verdicts_and_a_hostile_text(logs):
    state = fold(logs["everything"])
    levels = {verdict.level for verdict in state.verdicts.values()}
    assert levels >= {Level.OK, Level.WARNING, Level.BAD}
    assert state.status is RunStatus.FAILED
    assert "\x1b" in state.report.error
    assert (state.cursor.boot, state.cursor.missing, state.workers.restarts) == (1, 0, 1)


def test_the_recorded_runs_are_what_their_names_say(logs):
    states = {name: fold(events) for name, events in logs.items()}
    assert (states["default"].status, states["default"].report.rounds_done) == ("completed", 3)
    assert (states["crashed"].status, states["crashed"].report.rounds_done) == ("running", 1)
    hosts = states["sixteen"].environments
    assert [each.index for each in hosts] == list(range(16))
    assert {each.episode.epochs for each in hosts} == {150}


@pytest.mark.parametrize("name", NAMES)
def test_every_view_of_every_log_is_json(name, logs):
    state = fold(logs[name])
    for view in (*VIEWS, "host/1"):
        sent = json.loads(encode_frame(frame(state, view)))
        assert sent["to"] == state.cursor.sequence
        assert not set(sent["panels"]) ^ set(frame(state, view).panels)


@pytest.mark.parametrize("name", ["crashed", "everything"])
@given(data=st.data())
@settings(max_examples=6, deadline=None)
def test_any_split_of_a_real_log_equals_one_fold(name, data, logs):
    events = logs[name]
    state, position = RunState(), 0
    for end in sorted({*data.draw(st.lists(st.integers(1, len(events)), max_size=4)), len(events)}):
        start = data.draw(st.integers(0, position))
        state, position = fold(events[start:end], state), end
    assert repr(state) == repr(fold(events))


def test_sixteen_hosts_fit_into_a_small_frame(logs):
    events = logs["sixteen"]
    state = fold(events[: len(events) * 9 // 10])
    last = state.environments[-1].at
    sent = encode_frame(frame(state, "hosts", last - 1))
    assert len(sent) <= 12_000


def test_a_repeated_log_has_consecutive_sequence_numbers(tmp_path):
    log = tmp_path / "events.jsonl"
    write_repeated("crashed", log, 2_000)
    with RunReader(log, tmp_path / "cache") as run:
        state = run.read()
    assert state.cursor.sequence >= 1_999
    assert state.cursor.missing == 0
    assert state.report.rounds_done > 1


MEASURE = """
import resource, sys
from pathlib import Path
from pydantic import TypeAdapter
from esper_karn import RunReader, RunState
with RunReader(Path(sys.argv[1]), Path(sys.argv[2])) as run:
    state = run.read()
    size = len(TypeAdapter(RunState).dump_json(state))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, size)
"""


@pytest.mark.slow
def test_memory_stays_flat_over_200_000_events(tmp_path):
    peaks = []
    for events in (30_000, 200_000):
        log = tmp_path / f"{events}.jsonl"
        write_repeated("default", log, events)
        command = [sys.executable, "-c", MEASURE, str(log), str(tmp_path / str(events))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak, size = map(int, done.stdout.split())
        peaks.append(peak)
        assert size <= 1_000_000
    assert peaks[1] - peaks[0] <= 8 << 10  # in kB


@pytest.mark.nightly
def test_a_million_events_open_and_seek_fast(tmp_path):
    log, cache = tmp_path / "events.jsonl", tmp_path / "cache"
    write_repeated("default", log, 1_000_000)
    began = time.process_time()
    with RunReader(log, cache) as run:
        whole = run.read()
    assert (whole.cursor.sequence + 1) / (time.process_time() - began) >= 40_000
    began = time.perf_counter()
    with RunReader(log, cache) as run:
        again = run.read()
        assert time.perf_counter() - began <= 2.0
        assert repr(again) == repr(whole)
        began = time.perf_counter()
        assert run.read_at(559_998).cursor.sequence == 559_998
        assert time.perf_counter() - began <= 1.0
