"""The trainer's warnings and a reader's verdicts agree: both judge by the rules in Leyline."""

from __future__ import annotations

import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from esper_karn import RunState, reduce
from esper_leyline.events import PAYLOADS, GpuVitals, Throughput, Vitals
from esper_leyline.health import Gauge
from esper_nissa import Hub, Monitor

KINDS = {
    "memory": ("memory_warning", "memory"),
    "gpu_memory": ("memory_warning", "cuda"),
    "disk": ("memory_warning", "disk"),
    "throughput": ("throughput_warning", ""),
}
"""By verdict, the kind of warning and what its device starts with."""

shares = st.sampled_from([0.5, 0.88, 0.93, 0.95, 0.975, 0.98, 0.995, math.nan])
frees = st.sampled_from([100.0, 250.0, 1900.0, 2050.0, 1e5])
speeds = st.sampled_from([0.1, 1.0, 2.0, 4.0, 6.0, 10.0, math.nan])


def vitals_of(memory, free, *gpus):
    return Vitals(
        memory_mb=1000 * memory,
        total_memory_mb=1000.0,
        disk_free_mb=free,
        total_disk_mb=1e6,
        gpus=tuple(
            GpuVitals(index=index, name="G", memory_mb=1000 * share, total_memory_mb=1000.0)
            for index, share in enumerate(gpus)
        ),
    )


def throughput_of(speed):
    return Throughput(host_epochs_per_second=speed, seconds={})


samples = st.builds(vitals_of, shares, frees, shares, shares) | st.builds(throughput_of, speeds)


class Memory:
    """A sink that keeps events."""

    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event)

    def close(self):
        pass


def monitored(samples):
    memory = Memory()
    with Hub("run", [memory], frozenset(PAYLOADS)) as hub:
        monitor = Monitor(hub)
        for number, sample in enumerate(samples, start=1):
            monitor.emit(sample, round=number)
    return memory.events


def warned(event, name):
    kind, device = KINDS[name]
    return event.kind == kind and getattr(event.payload, "device", "").startswith(device)


@settings(deadline=None)
@given(st.lists(samples, max_size=15))
@example([*[throughput_of(10.0)] * 6, *[throughput_of(4.0)] * 3, *[throughput_of(1.0)] * 3])
@example([vitals_of(0.93, 1900.0, 0.98)] * 3 + [vitals_of(0.98, 100.0, 0.995)] * 3)
def test_a_warning_is_written_exactly_when_a_verdict_gets_worse(samples):
    events = monitored(samples)
    state = RunState()
    for at, event in enumerate(events):
        before, state = state, reduce(state, event)
        if event.kind not in {"vitals", "throughput"}:
            assert state.verdicts == before.verdicts
            continue
        follow = []
        for found in events[at + 1 :]:
            if found.kind in {"vitals", "throughput"}:
                break
            follow.append(found)
        for name in KINDS:
            old, new = before.verdicts.get(name), state.verdicts.get(name)
            worse = new is not None and new.gauge.worsened(old.gauge if old else Gauge())
            assert any(warned(each, name) for each in follow) == worse
