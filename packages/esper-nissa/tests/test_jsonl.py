"""The log file: lines, torn ends, full disks, killed writers."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_leyline.events import (
    PAYLOADS,
    Event,
    RunCompleted,
    RunResumed,
    Vitals,
    encode_event,
    parse_event,
)
from esper_leyline.run_files import MAX_LINE
from esper_nissa import Hub, JsonlSink, LogError, LogPosition, NissaError, next_position

EVERY_KIND = frozenset(PAYLOADS)


def event(sequence, percent=1.0, boot=0):
    return Event(
        run_id="run-1",
        boot=boot,
        sequence=sequence,
        monotonic=0.5,
        wall_time=1.7e9,
        payload=Vitals(cpu_percent=percent),
    )


def write(path, events):
    sink = JsonlSink(path)
    for each in events:
        sink.emit(each)
    sink.close()


def read(path):
    return [parse_event(line) for line in path.read_bytes().splitlines()]


def wait_for(condition):
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("this never came true")


@given(values=st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20))
@settings(max_examples=30, deadline=None)
def test_numbers_survive_the_file_with_six_digits_nan_and_infinity_included(
    tmp_path_factory, values
):
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    write(path, [event(number, value) for number, value in enumerate(values)])
    back = [each.payload.cpu_percent for each in read(path)]
    assert len(back) == len(values)
    for value, again in zip(values, back, strict=True):
        assert again == pytest.approx(value, rel=5.001e-6, abs=0.0, nan_ok=True)


def test_only_the_first_line_of_each_process_names_the_run(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, [event(0), event(1)])
    write(path, [event(2, boot=1), event(3, boot=1)])
    lines = path.read_bytes().splitlines()
    assert [b'"run_id":"run-1"' in line for line in lines] == [True, False, True, False]
    assert parse_event(lines[1], "run-1") == event(1)


def test_only_the_first_line_of_each_process_names_its_comparison(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, [replace(event(number), group="night") for number in (0, 1)])
    lines = path.read_bytes().splitlines()
    assert [b'"group":"night"' in line for line in lines] == [True, False]
    assert parse_event(lines[1], "run-1", "night") == replace(event(1), group="night")


def test_the_run_is_named_again_after_its_log_was_truncated(tmp_path):
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(path)
    for number in (0, 1):
        sink.emit(event(number))
        sink.flush()
    os.truncate(path, 0)
    sink.emit(event(2))
    with pytest.raises(LogError, match="was truncated"):
        sink.flush()
    for number in (3, 4):
        sink.emit(event(number))
    sink.close()
    assert [each.run_id for each in read(path)] == [None, "run-1", None]


def test_lines_are_buffered_until_a_flush_or_a_durable_event(tmp_path):
    path = tmp_path / "deep" / "events.jsonl"
    sink = JsonlSink(path)
    sink.emit(event(0))
    assert path.read_bytes() == b""
    sink.flush()
    assert len(read(path)) == 1
    end = RunCompleted(status="completed", rounds_completed=1, seconds=1.0)
    sink.emit(event(1))
    sink.emit(replace(event(2), payload=end))
    assert [each.sequence for each in read(path)] == [0, 1, 2]
    sink.close()
    sink.close()


def test_steady_load_is_written_without_a_flush(tmp_path, monkeypatch):
    clock = iter([0.0, 0.1, 0.2, 0.3, 0.3])
    monkeypatch.setattr("esper_nissa.sinks.jsonl.time.monotonic", lambda: next(clock))
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(path)
    for number in range(2):
        sink.emit(event(number))
    assert path.read_bytes() == b""
    sink.emit(event(2))
    assert len(read(path)) == 3
    monkeypatch.undo()
    sink.close()


def test_a_torn_last_line_is_ended_and_nothing_is_removed(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, [event(0), event(1)])
    torn = path.read_bytes()[:-30]
    path.write_bytes(torn)
    write(path, [event(1, boot=1)])
    first, second, third = path.read_bytes().splitlines()
    assert first + b"\n" + second == torn
    assert parse_event(third) == event(1, boot=1)


def test_a_log_continues_where_it_stopped(tmp_path):
    path = tmp_path / "events.jsonl"
    assert next_position(path, "run-1") == LogPosition(boot=0, sequence=0)
    path.write_bytes(b"")
    assert next_position(path, "run-1") == LogPosition(boot=0, sequence=0)
    for boot in range(3):
        position = next_position(path, "run-1")
        assert position == LogPosition(boot=boot, sequence=7 * boot)
        with Hub(
            "run-1", [JsonlSink(path)], EVERY_KIND, boot=position.boot, sequence=position.sequence
        ) as hub:
            for _ in range(7):
                hub.emit(Vitals())
    assert [each.sequence for each in read(path)] == list(range(21))


@pytest.mark.parametrize("padding", [10, 65_500, 65_536, 200_000])
def test_the_position_is_found_behind_torn_and_long_lines(tmp_path, padding):
    path = tmp_path / "events.jsonl"
    write(path, [event(0), event(1)])
    with path.open("ab") as file:
        file.write(b"x" * padding + b"\n\n" + encode_event(event(2))[:-9])
    assert next_position(path, "run-1") == LogPosition(boot=1, sequence=2)


def test_a_log_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        NissaError, match=r"cannot write event log '.*file/events.jsonl': File exists"
    ):
        JsonlSink(tmp_path / "file" / "events.jsonl")
    with pytest.raises(NissaError, match="cannot read event log"):
        next_position(tmp_path / "file" / "events.jsonl", "run-1")


def test_a_named_pipe_is_refused_without_blocking(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for descriptor in (reader, None):
        # Whether a process reads from it or none does.
        with pytest.raises(NissaError, match=r"'.*pipe': (it is a named pipe|No such device)"):
            JsonlSink(pipe)
        if descriptor is not None:
            os.close(descriptor)


def test_a_full_disk_is_reported():
    hub = Hub("run-1", [JsonlSink(Path("/dev/full"))], EVERY_KIND, sequence=7)
    hub.emit(Vitals())
    hub.close()
    assert hub.lost.since_sequence == 7
    assert "'/dev/full': No space left on device; free space" in hub.lost.reason


def test_the_first_event_of_a_buffer_that_was_not_written_is_named(tmp_path):
    """RLIMIT_FSIZE stands for a full disk: writing past it fails in the same way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(path)
    sink.emit(event(0))
    sink.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        sink.emit(event(1))
        sink.emit(event(2))
        with pytest.raises(LogError, match="File too large; free space") as caught:
            sink.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.first_lost == 1
    assert [each.sequence for each in read(path)] == [0]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_removed_or_replaced_log_is_reported(tmp_path, replaced):
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(path)
    sink.emit(event(0))
    sink.flush()
    path.unlink()
    if replaced:
        path.write_text("another")
    sink.emit(event(1))
    word = "replaced" if replaced else "removed"
    with pytest.raises(LogError, match=f"events.jsonl' was {word} while the run wrote it"):
        sink.close()


def test_a_log_has_one_writer(tmp_path):
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(path, new=True)
    with pytest.raises(NissaError, match="is being written by another run; name another file"):
        JsonlSink(path)
    sink.emit(event(0))
    sink.close()
    with pytest.raises(NissaError, match="already holds something; name a new file"):
        JsonlSink(path, new=True)
    JsonlSink(path).close()


@pytest.mark.parametrize(("kept", "extra"), [(0, 0), (1, 0), (2, 20), (4, -2)])
def test_a_truncated_log_reports_missing_events_and_continues(tmp_path, kept, extra):
    path, losses = tmp_path / "events.jsonl", []
    hub = Hub("run-1", [JsonlSink(path)], EVERY_KIND, sequence=10, on_loss=losses.append)
    for _ in range(5):
        hub.emit(Vitals())
    wait_for(lambda: path.read_bytes().count(b"\n") == 5)
    lines = path.read_bytes().splitlines(keepends=True)
    os.truncate(path, len(b"".join(lines[:kept])) + extra % len(lines[kept]))
    for _ in range(3):
        hub.emit(Vitals())
    hub.close()
    assert hub.lost.since_sequence == 10 + kept
    assert hub.lost.events == 5 - kept
    assert f"{path}' was truncated from" in hub.lost.reason
    assert losses == [hub.lost]
    whole = [line for line in path.read_bytes().splitlines() if line.endswith(b"}}")]
    found = [parse_event(line).sequence for line in whole]
    assert found == [*range(10, 10 + kept), 15, 16, 17]


def test_lost_events_of_one_log_are_added_up(tmp_path):
    """It is truncated twice, and removed in the end."""
    path = tmp_path / "events.jsonl"
    hub = Hub("run-1", [JsonlSink(path)], EVERY_KIND)
    for number in range(2):
        for _ in range(4):
            hub.emit(Vitals())
        wait_for(lambda: path.stat().st_size > 0)
        wait_for(lambda: path.read_bytes().count(b"\n") == 4)
        os.truncate(path, 0)
        hub.emit(RunResumed(checkpoint="c.pt", rounds_completed=number))
        wait_for(lambda: path.read_bytes().count(b"\n") == 1)
        os.truncate(path, 0)
    hub.emit(Vitals())
    hub.close()
    assert (hub.lost.since_sequence, hub.lost.events) == (0, 10)
    assert [each.sequence for each in read(path)] == [10]


def test_after_a_failure_every_later_event_counts_as_lost(tmp_path):
    path = tmp_path / "events.jsonl"
    hub = Hub("run-1", [JsonlSink(path)], EVERY_KIND)
    hub.emit(Vitals())
    wait_for(lambda: path.stat().st_size > 0)
    path.unlink()
    hub.emit(RunResumed(checkpoint="c.pt", rounds_completed=0))
    wait_for(lambda: not hub.writes)
    for _ in range(5):
        hub.emit(Vitals())
    hub.close()
    assert (hub.lost.since_sequence, hub.lost.events) == (0, 7)


@pytest.mark.parametrize("kind", ["EPIPE", "EIO", "EBADF", "ENOSPC"])
def test_a_failed_write_loses_only_the_log(tmp_path, kind):
    """The descriptor of the log is given another target, which fails in the kernel."""
    path, losses = tmp_path / "events.jsonl", []
    sink = JsonlSink(path)
    target = failing_descriptor(kind)
    os.dup2(target, sink._file.fileno())
    os.close(target)
    hub = Hub("run-1", [sink], EVERY_KIND, sequence=1, on_loss=losses.append)
    for _ in range(3):
        hub.emit(RunResumed(checkpoint="c.pt", rounds_completed=0))
    hub.close()
    assert (hub.lost.since_sequence, hub.lost.events) == (1, 3)
    assert f"cannot write event log '{path}': {os.strerror(getattr(errno, kind))};" in (
        hub.lost.reason
    )
    assert ("free space" in hub.lost.reason) == (kind == "ENOSPC")
    assert len(losses) == 1


def failing_descriptor(kind):
    """Opens something that the kernel refuses to write to in a certain way."""
    if kind == "EPIPE":
        reader, writer = os.pipe()
        os.close(reader)
        return writer
    if kind == "EIO":
        # Nothing is mapped at the address 0 of this process.
        return os.open("/proc/self/mem", os.O_WRONLY)
    return os.open("/dev/full", os.O_RDONLY if kind == "EBADF" else os.O_WRONLY)


_WATCHED = """
import sys, time
from pathlib import Path
from esper_leyline.events import PAYLOADS, RunResumed
from esper_nissa import Hub, JsonlSink
losses = []
with Hub("r", [JsonlSink(Path(sys.argv[1]))], frozenset(PAYLOADS), on_loss=losses.append) as hub:
    print("open", flush=True)
    sys.stdin.readline()
    for number in range(3):
        hub.emit(RunResumed(checkpoint="c.pt", rounds_completed=number))
print([(loss.events, loss.reason) for loss in losses], hub.lost)
"""


def test_a_log_that_cannot_be_checked_is_still_written(tmp_path):
    """Access to its folder is withdrawn from a user who is not root."""
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "events.jsonl"
    command = [sys.executable, "-c", _WATCHED, str(path)]
    if os.getuid() == 0:
        # Root may look into every folder, but not without its privileges.
        if shutil.which("setpriv") is None:
            pytest.skip("this is root, and there is no setpriv to drop privileges")
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "open\n"
        folder.chmod(0)
        try:
            output, _ = writer.communicate("\n")
        finally:
            folder.chmod(0o700)
    assert output.count("cannot check whether event log") == 1
    assert output.startswith("[(0, ")
    assert output.endswith("] None\n")
    assert [each.sequence for each in read(path)] == [0, 1, 2]


_RACER = """
import sys
from pathlib import Path
from esper_nissa import JsonlSink, NissaError
try:
    sink = JsonlSink(Path(sys.argv[1]), new=True)
except NissaError:
    print("refused")
else:
    print("writes", flush=True)
    sys.stdin.read()
"""


def test_one_of_several_processes_that_start_together_writes(tmp_path):
    path = tmp_path / "events.jsonl"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    answers = [racer.stdout.readline().strip() for racer in racers]
    for racer in racers:
        racer.communicate()
    assert sorted(answers) == ["refused", "refused", "refused", "writes"]


_WRITER = """
import sys, time
from pathlib import Path
from esper_leyline.events import PAYLOADS, Vitals
from esper_nissa import Hub, JsonlSink
hub = Hub("run-1", [JsonlSink(Path(sys.argv[1]))], frozenset(PAYLOADS))
number = 0
while True:
    hub.emit(Vitals(cpu_percent=number))
    number += 1
    if number % 50 == 0:
        time.sleep(0.001)
    if number == 2000:
        print("warm", flush=True)
"""


def test_the_log_of_a_killed_writer_can_be_continued(tmp_path):
    path = tmp_path / "events.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"warm\n"
        wait_for(lambda: path.exists() and path.stat().st_size > 100_000)
        writer.send_signal(signal.SIGKILL)
    *whole, last = path.read_bytes().split(b"\n")
    events = [parse_event(line) for line in whole]
    assert len(events) > 100
    assert [each.sequence for each in events] == list(range(len(events)))
    position = next_position(path, "run-1")
    with Hub(
        "run-1", [JsonlSink(path)], EVERY_KIND, boot=position.boot, sequence=position.sequence
    ) as hub:
        hub.emit(Vitals())
    after = path.read_bytes().split(b"\n")
    assert after[: len(whole)] == whole
    resumed = parse_event(after[-2])
    assert (resumed.boot, resumed.sequence) == (1, len(events))
    assert len(after) == len(whole) + 2 + bool(last)


def test_a_log_of_another_schema_version_is_not_continued(tmp_path):
    path = tmp_path / "events.jsonl"
    line = encode_event(event(7)).decode().replace('"schema_version":3', '"schema_version":1')
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(NissaError, match="has schema version 1, and this Esper reads version 3"):
        next_position(path, "run-1")


def test_a_log_of_another_run_is_not_continued(tmp_path):
    path = tmp_path / "events.jsonl"
    write(path, [event(0), event(1)])
    with pytest.raises(NissaError, match="is of run 'run-1', not of 'run-2'; move it away"):
        next_position(path, "run-2")


@pytest.mark.parametrize("first", [b"garbage\n", b"x" * (MAX_LINE + 9) + b"\n"])
def test_a_log_that_no_longer_names_its_run_is_continued(tmp_path, first):
    path = tmp_path / "events.jsonl"
    write(path, [event(0), event(1)])
    path.write_bytes(first + path.read_bytes().split(b"\n", 1)[1])
    assert next_position(path, "run-2") == LogPosition(boot=1, sequence=2)
