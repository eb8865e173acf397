"""The hub: stamps events, queues them, and passes them to sinks from its own thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, runtime_checkable

from esper_leyline.events import SAMPLE_KINDS, AnyPayload, Event
from esper_leyline.ports import TelemetrySink
from esper_leyline.summary import TelemetryLoss
from esper_nissa.errors import LogError, NissaError

DRAIN_INTERVAL = 0.025
"""Seconds the writer thread sleeps between two checks of the queue; emitters never wake it."""

MOST_QUEUED = 50_000
"""Events in the queue from which on samples are coalesced."""


_Emitted = tuple[AnyPayload, int | None, int | None, int | None]
"""Payload, round, epoch and environment."""

_Queued = tuple[int, float, int, AnyPayload, int | None, int | None, int | None]
"""Sequence number, monotonic clock, samples held back before it, and what was emitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loss:
    """Events that a sink has lost.

    Attributes:
        first: Sequence number of the first one.
        events: Their number; ``None`` for all from ``first`` on.
    """

    sink: TelemetrySink
    first: int
    events: int | None
    reason: str


@runtime_checkable
class FlushingSink(Protocol):
    """A sink that buffers; the hub calls ``flush`` whenever its queue is empty."""

    def flush(self) -> None:
        """Writes the buffered events."""


class Hub:
    """A ``Telemetry`` that never blocks on a sink.

    ``emit`` stamps an event and appends it to a queue in memory; a daemon thread passes the
    events to every sink in order of their sequence numbers. Use it as a context manager:
    leaving it writes every event.

    While ``MOST_QUEUED`` events wait, samples (``SAMPLE_KINDS``) are coalesced: the next sample
    of that kind and environment that is written counts the ones before it as ``coalesced``.
    Events of other kinds are never dropped.

    A sink that fails gets no further event; the other sinks and the caller continue, because
    telemetry must not stop a run. A ``LogError`` that counts the missing events is not a
    failure: its sink gets the next events. ``lost`` and ``on_loss`` describe the loss.
    Payloads are written after ``emit`` has returned: do not change their dicts afterwards.

    Args:
        run_id: Name of the run's directory.
        sinks: Where events go; the hub closes them.
        kinds: The event kinds to write, from ``esper_leyline.events.kinds_written``. Others
            are ignored and take no sequence number.
        boot: Number of processes that wrote this run's log before.
        sequence: Sequence number of the first event.
        group: The comparison that the run is an arm of.
        on_loss: Called from the hub's own thread, once for each sink that fails and each
            loss that a sink reports; ``events`` is 0 if nothing is missing so far.
    """

    def __init__(
        self,
        run_id: str,
        sinks: Sequence[TelemetrySink],
        kinds: frozenset[str],
        boot: int = 0,
        sequence: int = 0,
        *,
        group: str | None = None,
        on_loss: Callable[[TelemetryLoss], None] | None = None,
    ) -> None:
        self._run_id = run_id
        self._on_loss = on_loss
        self._group = group
        self._kinds = kinds
        self._boot = boot
        self._sequence = sequence
        self._sinks: list[TelemetrySink] = list(sinks)
        self._start = time.monotonic()
        self._queue: deque[_Queued] = deque()
        # The latest sample of each kind and environment held back, and how many there are.
        self._held: dict[tuple[str, int | None], tuple[_Emitted, int]] = {}
        # Held while an event is stamped and appended, so that sequence, time and order in
        # the queue agree; the writer pops without it and never blocks an emitter.
        self._stamping = threading.Lock()
        self._stop = threading.Event()
        self._losses: list[_Loss] = []
        self._closed = False
        self._passing = sequence
        self._writer = threading.Thread(target=self._write, name="esper-nissa-hub", daemon=True)
        self._writer.start()

    @property
    def lost(self) -> TelemetryLoss | None:
        """The events missing in the first sink that lost any; ``None`` if none did."""
        losses = [loss for loss in self._losses if loss.sink is self._losses[0].sink]
        if not losses:
            return None
        return TelemetryLoss(
            since_sequence=min(loss.first for loss in losses),
            events=_missing(losses, self._sequence),
            reason="; ".join(dict.fromkeys(loss.reason for loss in losses)),
        )

    @property
    def writes(self) -> bool:
        """Whether any sink still takes events."""
        return bool(self._sinks)

    def emit(
        self,
        payload: AnyPayload,
        *,
        round: int | None = None,
        epoch: int | None = None,
        environment: int | None = None,
    ) -> None:
        """Stamps a payload and queues it for the sinks.

        Args:
            payload: What happened.
            round: Round of episodes it belongs to, from 1; ``None`` for the whole run.
            epoch: Epochs of the episode that were trained; ``None`` if it is not about one.
            environment: Index of the environment concerned, ``None`` for the whole run.

        Raises:
            NissaError: If the hub is closed.
        """
        # The caller waits for this: the wall clock and the event itself are the writer's work.
        if payload.kind not in self._kinds:
            return
        with self._stamping:
            if self._closed:
                raise NissaError(
                    f"telemetry of run '{self._run_id}' is closed and takes no '{payload.kind}' "
                    "event; emit before closing the hub"
                )
            queue, sequence, coalesced = self._queue, self._sequence, 0
            if self._held or len(queue) >= MOST_QUEUED:
                held = self._hold((payload, round, epoch, environment))
                if held is None:
                    return
                coalesced = held
            queue.append(
                (sequence, time.monotonic(), coalesced, payload, round, epoch, environment)
            )
            self._sequence = sequence + 1

    def close(self) -> None:
        """Writes every queued event and closes the sinks; further calls do nothing."""
        with self._stamping:
            if self._closed:
                return
            for emitted, count in self._held.values():
                self._queue.append((self._sequence, time.monotonic(), count - 1, *emitted))
                self._sequence += 1
            self._held.clear()
            self._closed = True
        self._stop.set()
        self._writer.join()
        for sink in list(self._sinks):
            self._guard(sink, sink.close)

    def __enter__(self) -> Hub:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _hold(self, emitted: _Emitted) -> int | None:
        """Holds a sample back while the queue is full; the caller holds the lock.

        Returns:
            How many samples were held back before this event; ``None`` if it is held back itself.
        """
        payload, _, _, environment = emitted
        if payload.kind not in SAMPLE_KINDS:
            return 0
        key = (payload.kind, environment)
        _, before = self._held.pop(key, (None, 0))
        if len(self._queue) < MOST_QUEUED:
            return before
        self._held[key] = (emitted, before + 1)
        return None

    def _write(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(DRAIN_INTERVAL)
            self._drain()

    def _drain(self) -> None:
        if not self._queue:
            return
        while self._queue:
            self._pass_on(self._event(self._queue.popleft()))
        for sink in list(self._sinks):
            if isinstance(sink, FlushingSink):
                self._guard(sink, sink.flush)

    def _event(self, queued: _Queued) -> Event:
        sequence, at, coalesced, payload, number, epoch, environment = queued
        self._passing = sequence
        waited = time.monotonic() - at
        return Event(
            run_id=self._run_id,
            boot=self._boot,
            sequence=sequence,
            monotonic=at - self._start,
            wall_time=time.time() - waited,
            group=self._group,
            round=number,
            epoch=epoch,
            environment=environment,
            coalesced=coalesced,
            payload=payload,
        )

    def _pass_on(self, event: Event) -> None:
        for sink in list(self._sinks):
            self._guard(sink, sink.emit, event)

    def _guard(self, sink: TelemetrySink, call: Callable[..., None], *arguments: Event) -> None:
        """Calls a sink; removes it if it fails, and records its loss."""
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001  sinks are plug-ins, and a dead writer loses events
            loss = _loss(sink, error, self._passing)
            if loss.events is None and sink in self._sinks:
                self._sinks.remove(sink)
            self._report(loss)

    def _report(self, loss: _Loss) -> None:
        if loss.events != 0:
            self._losses.append(loss)
        if self._on_loss is not None:
            self._on_loss(
                TelemetryLoss(
                    since_sequence=loss.first,
                    events=_missing([loss], self._sequence),
                    reason=loss.reason,
                )
            )


def _loss(sink: TelemetrySink, error: Exception, sequence: int) -> _Loss:
    known = isinstance(error, NissaError)
    reason = str(error) if known else f"telemetry sink {type(sink).__name__} failed: {error!r}"
    if not isinstance(error, LogError):
        return _Loss(sink=sink, first=sequence, events=None, reason=reason)
    first = sequence if error.first_lost is None else error.first_lost
    return _Loss(sink=sink, first=first, events=error.events, reason=reason)


def _missing(losses: Sequence[_Loss], sequence: int) -> int:
    """Counts the events that one sink has lost before the event ``sequence``."""
    # A sink fails at most once, and all events from then on are lost.
    failed = min((loss.first for loss in losses if loss.events is None), default=sequence)
    before = sum(loss.events or 0 for loss in losses if loss.first < failed)
    return before + sequence - failed
