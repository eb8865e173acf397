"""100,000 events a second for 10 s: what may not be lost is written, and samples are counted."""

from __future__ import annotations

import threading
import time
from collections import Counter

import psutil
import pytest

from esper_leyline import SeedEvent, SeedEventKind, SeedReport, SeedStage
from esper_leyline.actions import FactoredAction
from esper_leyline.events import (
    PAYLOADS,
    SAMPLE_KINDS,
    Decision,
    EpochCompleted,
    NumericalInstability,
    Vitals,
    parse_event,
)
from esper_leyline.reports import HostReport
from esper_nissa import Hub, JsonlSink

RATE, SECONDS, HOSTS = 100_000, 10, 16
MOST_MEMORY = 256 << 20
"""Bytes by which the process may grow: 50,000 waiting samples, and the events never dropped."""


def sample(number):
    if number % 20 == 1:
        return Vitals(cpu_percent=number / 7)
    seeds = tuple(SeedReport(slot=f"r0c{column}", alpha=number / 3) for column in range(3))
    return EpochCompleted(host=HostReport(seeds=seeds, host_parameters=1, val_loss=number / 7))


def kept_payload(number):
    """A payload of a kind that is never dropped."""
    if number % 3 == 0:
        return NumericalInstability(where="loss", consecutive=number)
    if number % 3 == 1:
        return Decision(action=FactoredAction(), value=float(number))
    return SeedEvent(
        kind=SeedEventKind.STAGE_CHANGED,
        slot="r0c0",
        source=SeedStage.TRAINING,
        target=SeedStage.BLENDING,
    )


class PeakMemory:
    """Measures the largest resident memory of this process while it is open."""

    def __enter__(self):
        self._process = psutil.Process()
        self.before = self.largest = self._process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _watch(self):
        while not self._stop.wait(0.05):
            self.largest = max(self.largest, self._process.memory_info().rss)


@pytest.mark.nightly
def test_an_overload_drops_samples_only(tmp_path, record_property):
    emitted: Counter[tuple[str, int]] = Counter()
    samples = [sample(number) for number in range(1_000)]  # made before, so that the rate is met
    log = tmp_path / "events.jsonl"
    with PeakMemory() as memory, Hub("run-1", [JsonlSink(log)], frozenset(PAYLOADS)) as hub:
        start = time.monotonic()
        for number in range(RATE * SECONDS):
            if number % 1_000 == 0:
                time.sleep(max(0.0, start + number / RATE - time.monotonic()))
            event = samples[number % 1_000] if number % 20 else kept_payload(number)
            hub.emit(event, environment=number % HOSTS, epoch=number)
            emitted[event.kind, number % HOSTS] += 1
        record_property("events a second", RATE * SECONDS / (time.monotonic() - start))
    record_property("bytes", memory.largest - memory.before)
    assert memory.largest - memory.before < MOST_MEMORY
    assert hub.lost is None

    written: Counter[tuple[str, int]] = Counter()
    kept = []
    with log.open("rb") as file:
        for sequence, line in enumerate(file):
            event = parse_event(line)
            assert event.sequence == sequence
            written[event.kind, event.environment] += 1 + event.coalesced
            if event.kind not in SAMPLE_KINDS:
                assert event.coalesced == 0
                kept.append(event.epoch)
    assert kept == list(range(0, RATE * SECONDS, 20))
    assert written == emitted
