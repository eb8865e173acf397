"""The vitals of the machine, and the thread that writes them."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pynvml

from esper_nissa import Machine, VitalsThread
from esper_nissa.vitals.gpus import Gpus


class Recorded:
    def __init__(self):
        self.payloads = []

    def emit(self, payload, **_):
        self.payloads.append(payload)


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_machine_is_measured(tmp_path):
    machine = Machine(tmp_path)
    first, second = machine.read(), machine.read()
    assert first.cpu_percent is None  # nothing to compare with yet
    assert 0 <= second.cpu_percent <= 100
    assert 1 < second.rss_mb < second.total_memory_mb
    assert 0 < second.memory_mb < second.total_memory_mb
    assert 0 < second.disk_free_mb <= second.total_disk_mb


def test_unreadable_vitals_are_none(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise psutil.AccessDenied

    for name in ("cpu_percent", "virtual_memory"):
        monkeypatch.setattr(psutil, name, fail)
    vitals = Machine(Path("/nowhere")).read()
    assert vitals.memory_mb is vitals.total_memory_mb is vitals.disk_free_mb is None


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    def fail():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    assert Gpus().read() == ()


def test_a_gpu_says_what_it_can(monkeypatch):
    """A driver is simulated: this machine may have none."""

    def refuse(*_):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    answers = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda handle: f"GPU number {handle}",
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=2e9, total=8e9),
        "nvmlDeviceGetUtilizationRates": refuse,
        "nvmlDeviceGetTemperature": lambda *_: 61,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    first, second = Gpus().read()
    assert (first.index, second.index, second.name) == (0, 1, "GPU number 1")
    assert (first.memory_mb, first.total_memory_mb) == (2000.0, 8000.0)
    assert (first.percent, first.temperature) == (None, 61.0)


def test_the_thread_writes_at_once_and_again_and_ends_at_once(tmp_path):
    telemetry = Recorded()
    with VitalsThread(telemetry, tmp_path, interval=0.01):
        wait_for(lambda: len(telemetry.payloads) >= 3)
    written = len(telemetry.payloads)
    assert "esper-nissa-vitals" not in {thread.name for thread in threading.enumerate()}
    assert {payload.kind for payload in telemetry.payloads} == {"vitals"}
    time.sleep(0.05)
    assert len(telemetry.payloads) == written


def test_a_long_interval_does_not_delay_the_end(tmp_path):
    telemetry = Recorded()
    thread = VitalsThread(telemetry, tmp_path, interval=3600)
    thread.start()
    wait_for(lambda: telemetry.payloads)
    thread.stop()
    thread.stop()
    assert not thread._thread.is_alive()


def test_a_short_run_has_the_use_of_the_cpu_too(tmp_path):
    """It is measured between two readings, so the second one does not wait for the interval."""
    telemetry = Recorded()
    with VitalsThread(telemetry, tmp_path, interval=3600):
        wait_for(lambda: len(telemetry.payloads) == 2)
    first, second = telemetry.payloads
    assert first.cpu_percent is None
    assert second.cpu_percent is not None


def test_a_thread_that_was_not_started_can_be_ended(tmp_path):
    VitalsThread(Recorded(), tmp_path).stop()


def test_signals_go_to_the_main_thread(tmp_path):
    masks = []

    class Masked(Recorded):
        def emit(self, payload, **_):
            masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with VitalsThread(Masked(), tmp_path):
        wait_for(lambda: masks)
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} <= masks[0]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
