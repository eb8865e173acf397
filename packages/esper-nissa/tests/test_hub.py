"""The hub: stamping, filtering, order, failure and the end."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_leyline.config.training import TelemetryConfig
from esper_leyline.events import (
    LIFECYCLE_KINDS,
    PAYLOADS,
    Event,
    NumericalInstability,
    RunResumed,
    Throughput,
    Vitals,
    encode_event,
    kinds_written,
    parse_event,
)
from esper_nissa import Hub, NissaError

EVERY_KIND = frozenset(PAYLOADS)


class Memory:
    """A sink that keeps what it was given and when it was flushed and closed."""

    def __init__(self):
        self.events: list[Event] = []
        self.calls: list[str] = []

    def emit(self, event):
        self.events.append(event)

    def flush(self):
        self.calls.append("flush")

    def close(self):
        self.calls.append("close")


class Broken(Memory):
    """A sink that works for a while."""

    def __init__(self, works):
        super().__init__()
        self._works = works

    def emit(self, event):
        if len(self.events) == self._works:
            raise OSError(28, "No space left on device")
        super().emit(event)


class Blocked(Memory):
    """A sink that waits until it is released."""

    def __init__(self):
        super().__init__()
        self.released = threading.Event()

    def emit(self, event):
        assert self.released.wait(20)
        super().emit(event)


def vitals(percent=1.0):
    return Vitals(cpu_percent=percent)


def test_events_are_stamped_in_order():
    sink = Memory()
    before = time.time()
    with Hub("run-1", [sink], EVERY_KIND, boot=2, sequence=40, group="A") as hub:
        for number in range(5):
            hub.emit(vitals(number), round=7, epoch=number + 1, environment=number)
    events = sink.events
    assert [event.sequence for event in events] == [40, 41, 42, 43, 44]
    assert [event.payload.cpu_percent for event in events] == [0, 1, 2, 3, 4]
    assert [event.environment for event in events] == [0, 1, 2, 3, 4]
    assert [(event.round, event.epoch) for event in events] == [(7, n) for n in range(1, 6)]
    assert {(event.run_id, event.boot, event.group) for event in events} == {("run-1", 2, "A")}
    stamps = [event.monotonic for event in events]
    assert stamps == sorted(stamps)
    assert stamps[0] >= 0
    assert all(before <= event.wall_time <= time.time() for event in events)


def test_the_events_of_the_hub_are_valid():
    sink = Memory()
    with Hub("run-1", [sink], EVERY_KIND) as hub:
        hub.emit(vitals(float("nan")))
    (event,) = sink.events
    again = parse_event(encode_event(event))
    assert again.payload.cpu_percent != again.payload.cpu_percent
    assert (
        replace(again, payload=event.payload, monotonic=event.monotonic, wall_time=event.wall_time)
        == event
    )


@given(
    kinds=st.sets(st.sampled_from(["vitals", "throughput", "run_resumed"])),
    emitted=st.lists(st.sampled_from(["vitals", "throughput", "run_resumed"]), max_size=30),
)
@settings(max_examples=25, deadline=None)
def test_ignored_kinds_take_no_sequence_number(kinds, emitted):
    payloads = {
        "vitals": vitals(),
        "throughput": Throughput(host_epochs_per_second=1.0, seconds={}),
        "run_resumed": RunResumed(checkpoint="c.pt", rounds_completed=1),
    }
    sink = Memory()
    with Hub("run-1", [sink], frozenset(kinds)) as hub:
        for kind in emitted:
            hub.emit(payloads[kind])
    wanted = [kind for kind in emitted if kind in kinds]
    assert [event.kind for event in sink.events] == wanted
    assert [event.sequence for event in sink.events] == list(range(len(wanted)))


def test_telemetry_off_with_lifecycle_only_keeps_lifecycle_events_alone():
    kinds = kinds_written(TelemetryConfig(level="off", lifecycle_only=True))
    assert kinds > LIFECYCLE_KINDS
    sink = Memory()
    with Hub("run-1", [sink], kinds) as hub:
        hub.emit(vitals())
        hub.emit(NumericalInstability(where="loss", consecutive=1))
    assert sink.events == []


def test_events_of_many_threads_are_in_order_without_gaps():
    sink = Memory()
    threads, each = 8, 500
    with Hub("run-1", [sink], EVERY_KIND) as hub:

        def work(environment):
            for number in range(each):
                hub.emit(vitals(number), environment=environment)

        workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert [event.sequence for event in sink.events] == list(range(threads * each))
    stamps = [event.monotonic for event in sink.events]
    assert stamps == sorted(stamps)
    for environment in range(threads):
        own = [e.payload.cpu_percent for e in sink.events if e.environment == environment]
        assert own == list(range(each))


def test_events_reach_the_sink_and_are_flushed_while_the_hub_is_open():
    sink = Memory()
    with Hub("run-1", [sink], EVERY_KIND) as hub:
        hub.emit(vitals())
        deadline = time.monotonic() + 20
        while "flush" not in sink.calls and time.monotonic() < deadline:
            time.sleep(0.005)
        assert sink.calls == ["flush"]
        assert len(sink.events) == 1
    assert sink.calls == ["flush", "close"]


def test_a_slow_sink_does_not_block_the_emitter():
    sink = Blocked()
    with Hub("run-1", [sink], EVERY_KIND) as hub:
        for _ in range(100):
            hub.emit(vitals())
        assert sink.events == []
        sink.released.set()
    assert len(sink.events) == 100


def test_samples_are_coalesced_while_the_queue_is_full(monkeypatch):
    monkeypatch.setattr("esper_nissa.hub.MOST_QUEUED", 10)
    sink = Blocked()
    losses = []
    with Hub("run-1", [sink], EVERY_KIND, on_loss=losses.append) as hub:
        for number in range(100):
            hub.emit(vitals(number))
            hub.emit(RunResumed(checkpoint="c.pt", rounds_completed=number))
        sink.released.set()
    events = sink.events
    assert [event.sequence for event in events] == list(range(len(events)))
    resumed = [event for event in events if event.kind == "run_resumed"]
    assert [event.payload.rounds_completed for event in resumed] == list(range(100))
    assert all(event.coalesced == 0 for event in resumed)
    samples = [event for event in events if event.kind == "vitals"]
    assert len(samples) < 20
    assert sum(1 + event.coalesced for event in samples) == 100
    assert samples[-1].payload.cpu_percent == 99
    assert samples[-1].coalesced > 80
    assert (hub.lost, losses) == (None, [])


def test_a_sample_counts_the_ones_held_back_of_its_own_environment(monkeypatch):
    monkeypatch.setattr("esper_nissa.hub.MOST_QUEUED", 4)
    sink = Blocked()
    with Hub("run-1", [sink], EVERY_KIND) as hub:
        for number in range(6):
            hub.emit(vitals(number), environment=number % 2, epoch=number)
        held = len(hub._queue) >= 4
        for number in range(6, 12):
            hub.emit(vitals(number), environment=number % 2, epoch=number)
        assert held
        sink.released.set()
        deadline = time.monotonic() + 20
        while hub._queue and time.monotonic() < deadline:
            time.sleep(0.005)
        for number in range(12, 14):
            hub.emit(vitals(number), environment=number % 2, epoch=number)
    for environment in (0, 1):
        own = [event for event in sink.events if event.environment == environment]
        assert sum(1 + event.coalesced for event in own) == 7
        assert own[-1].payload.cpu_percent == 12 + environment
        assert own[-1].epoch == 12 + environment
        assert own[-1].coalesced > 0
    stamps = [event.monotonic for event in sink.events]
    assert stamps == sorted(stamps)


def test_a_failed_sink_is_reported_once_and_the_others_continue():
    broken, whole, losses = Broken(works=2), Memory(), []
    hub = Hub("run-1", [broken, whole], EVERY_KIND, on_loss=losses.append)
    assert hub.lost is None
    for _ in range(6):
        hub.emit(vitals())
    hub.close()
    assert [event.sequence for event in whole.events] == [0, 1, 2, 3, 4, 5]
    assert whole.calls[-1] == "close"
    assert len(broken.events) == 2
    assert hub.lost.since_sequence == 2
    assert "Broken failed" in hub.lost.reason
    assert "No space left" in hub.lost.reason
    assert losses == [hub.lost]
    hub.close()


def test_a_sink_that_fails_on_closing_is_reported():
    class Unclosable(Memory):
        def close(self):
            raise NissaError("cannot finish")

    hub = Hub("run-1", [Unclosable()], EVERY_KIND)
    hub.close()
    assert hub.lost.reason == "cannot finish"


def test_a_hub_without_sinks_keeps_nothing():
    hub = Hub("run-1", [Broken(works=0)], EVERY_KIND)
    hub.emit(vitals())
    deadline = time.monotonic() + 20
    while hub.lost is None and time.monotonic() < deadline:
        time.sleep(0.005)
    for _ in range(1000):
        hub.emit(vitals())
    while hub._queue and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not hub._queue
    hub.close()


def test_leaving_the_context_after_an_error_still_writes_everything():
    sink = Memory()

    def interrupted():
        with Hub("run-1", [sink], EVERY_KIND) as hub:
            hub.emit(vitals())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(sink.events) == 1


def test_a_closed_hub_refuses_events():
    hub = Hub("run-1", [], EVERY_KIND)
    hub.close()
    with pytest.raises(NissaError, match=r"run 'run-1' is closed.*'vitals'"):
        hub.emit(vitals())


def test_events_carry_the_comparison_of_their_run():
    memory = Memory()
    with Hub("run", [memory], EVERY_KIND, group="night") as hub:
        hub.emit(vitals())
        hub.emit(vitals())
    assert [event.group for event in memory.events] == ["night", "night"]
