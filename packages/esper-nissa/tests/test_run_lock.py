"""One trainer a run, and readers that know when it is gone: with real processes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esper_leyline.run_lock import LockState, RunOwner, probe_lock
from esper_nissa import NissaError, RunDirectory, RunLock

HOLD = """
import sys, time
from pathlib import Path
from esper_nissa import RunLock
lock = RunLock(Path(sys.argv[1]), "ppo", group="g")
print("locked", flush=True)
time.sleep(600)
"""


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create(tmp_path / "runs", "mnist1d").path


@pytest.fixture
def trainer(run):
    """A process that holds the lock of a run."""
    command = [sys.executable, "-c", HOLD, str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_trainer_is_refused_in_one_line(run, trainer):
    with pytest.raises(NissaError) as refusal:
        RunLock(run, "ppo")
    assert str(refusal.value).startswith(f"run '{run}' is being trained by process {trainer.pid}")
    assert "\n" not in str(refusal.value)


def test_a_killed_trainer_is_known_at_once(run, trainer):
    assert probe_lock(run).state is LockState.HELD
    trainer.send_signal(signal.SIGKILL)
    trainer.wait()
    probe = probe_lock(run)
    assert (probe.state, probe.owner.pid) == (LockState.FREE, trainer.pid)
    assert (probe.owner.command, probe.owner.group) == ("ppo", "g")
    RunLock(run, "ppo").release()


def test_a_reader_holds_the_lock_only_for_an_instant(run):
    """A trainer starts while readers probe as fast as they can."""
    RunLock(run, "ppo").release()
    stop = threading.Event()

    def probe():
        while not stop.is_set():
            probe_lock(run)

    readers = [threading.Thread(target=probe) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(20):
            RunLock(run, "ppo").release()
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert probe_lock(run).state is LockState.FREE


def test_a_trainer_waits_for_a_slow_reader(run):
    RunLock(run, "ppo").release()
    descriptor = os.open(run / "run.lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    timer = threading.Timer(0.2, os.close, [descriptor])
    timer.start()
    started = time.monotonic()
    RunLock(run, "ppo").release()
    timer.join()
    assert time.monotonic() - started > 0.1


def test_a_child_of_the_trainer_does_not_keep_the_lock(run):
    lock = RunLock(run, "ppo")
    child = subprocess.Popen(["sleep", "600"], close_fds=False)
    lock.release()
    try:
        assert probe_lock(run).state is LockState.FREE
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": 1}', "\0" * 100, "[" * 4000])
def test_a_lock_file_without_a_valid_owner_is_unknown(run, content):
    (run / "run.lock").write_text(content)
    assert probe_lock(run).state is LockState.UNKNOWN


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=9), each),
    max_leaves=6,
)
_LOCKS = st.binary(max_size=200) | _VALUES.map(json.dumps).map(str.encode)
_OWNERS = st.dictionaries(st.sampled_from([*RunOwner.model_fields, "more"]), _VALUES)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=_LOCKS | _OWNERS.map(json.dumps).map(str.encode))
def test_any_lock_file_gives_an_owner_or_none(run, content):
    (run / "run.lock").write_bytes(content)
    probe = probe_lock(run)
    assert probe.owner is None or isinstance(probe.owner, RunOwner)
    # A trainer writes over whatever is there.
    with RunLock(run, "ppo"):
        assert probe_lock(run).owner.command == "ppo"


def test_a_run_without_a_lock_file_is_unknown(run):
    assert probe_lock(run).state is LockState.UNKNOWN
    os.mkfifo(run / "run.lock")
    assert probe_lock(run).state is LockState.UNKNOWN


def test_a_free_lock_of_another_machine_is_unknown(run, monkeypatch):
    RunLock(run, "ppo").release()
    monkeypatch.setattr("esper_leyline.run_lock.this_machine", lambda: "another")
    assert probe_lock(run).state is LockState.UNKNOWN


def test_a_file_system_without_locks_is_reported(run, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("esper_nissa.run_lock.fcntl.flock", refuse)
    lock = RunLock(run, "ppo")
    monkeypatch.undo()
    assert not lock.locked
    lock.release()
    assert probe_lock(run).state is LockState.UNKNOWN


def test_a_lock_that_cannot_be_written_is_one_line(run):
    (run / "run.lock").mkdir()
    with pytest.raises(NissaError, match=r"cannot write '.*run\.lock': Is a directory"):
        RunLock(run, "ppo")
