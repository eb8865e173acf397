"""The hub: stamps what happened, queues it, and writes it from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, runtime_checkable

from esper_leyline import TelemetryLoss, TelemetrySink
from esper_leyline.events import SCHEMA_VERSION, AnyPayload, Event
from esper_nissa.errors import LogError, NissaError

DRAIN_INTERVAL = 0.025
"""Seconds the writer sleeps between looks at the queue; emitters never wake it."""

_Stamped = tuple[int, float, float, str | None, int | None, AnyPayload]


@runtime_checkable
class FlushingSink(Protocol):
    """A sink that buffers; the hub calls ``flush`` whenever its queue has run empty."""

    def flush(self) -> None:
        """Hands on what is buffered."""


class Hub:
    """A ``Telemetry`` that never blocks on a sink and never drops an event.

    ``emit`` stamps and appends to a queue in memory; a daemon thread passes the events
    to every sink in order of their sequence. Use it as a context manager: leaving it
    writes everything that was emitted.

    A sink that fails gets no further event; the other sinks and the caller go on, because
    telemetry must not end what it observes. ``lost`` and ``on_loss`` say what is missing.
    Payloads are written after ``emit`` has returned: do not change their dicts afterwards.

    Args:
        run_id: Name of the run's directory.
        sinks: Where events go; the hub closes them.
        kinds: The event kinds to write, as ``esper_leyline.events.kinds_written`` returns
            them. Others are ignored and take no sequence number.
        boot: How many processes wrote this run's log before.
        sequence: Sequence number of the first event.
        group: The comparison that the run is an arm of, unless an event names another.
        on_loss: Called once for each sink that fails, from the hub's own thread.
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
        self._queue: deque[_Stamped] = deque()
        # Held for stamping and appending alone, so sequence, time and order in the
        # queue agree; the writer pops without it and cannot hold an emitter up.
        self._stamping = threading.Lock()
        self._stop = threading.Event()
        self._lost: TelemetryLoss | None = None
        self._closed = False
        self._passing = sequence
        self._writer = threading.Thread(target=self._write, name="esper-nissa-hub", daemon=True)
        self._writer.start()

    @property
    def lost(self) -> TelemetryLoss | None:
        """What the first sink that failed did not write; ``None`` while all of them work."""
        return self._lost

    def emit(
        self, payload: AnyPayload, *, environment: int | None = None, group: str | None = None
    ) -> None:
        """Stamps a payload and queues it for the sinks.

        Args:
            payload: What happened.
            environment: Index of the environment concerned, ``None`` for the whole run.
            group: The comparison that the event belongs to, if it is not the hub's own.

        Raises:
            NissaError: If the hub is closed.
        """
        if payload.kind not in self._kinds:
            return
        with self._stamping:
            if self._closed:
                raise NissaError(
                    f"telemetry of run '{self._run_id}' is closed and takes no '{payload.kind}' "
                    "event; emit before closing the hub"
                )
            monotonic = time.monotonic() - self._start
            self._queue.append(
                (self._sequence, monotonic, time.time(), group, environment, payload)
            )
            self._sequence += 1

    def close(self) -> None:
        """Writes every queued event and closes the sinks; further calls do nothing."""
        with self._stamping:
            if self._closed:
                return
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

    def _event(self, stamped: _Stamped) -> Event:
        sequence, monotonic, wall_time, group, environment, payload = stamped
        self._passing = sequence
        # The payload was validated when it was built; the stamps are the hub's own.
        return Event.model_construct(
            schema_version=SCHEMA_VERSION,
            run_id=self._run_id,
            boot=self._boot,
            sequence=sequence,
            monotonic=monotonic,
            wall_time=wall_time,
            group=self._group if group is None else group,
            environment=environment,
            coalesced=0,
            payload=payload,
        )

    def _pass_on(self, event: Event) -> None:
        for sink in list(self._sinks):
            self._guard(sink, sink.emit, event)

    def _guard(self, sink: TelemetrySink, call: Callable[..., None], *arguments: Event) -> None:
        """Runs one call of a sink; a sink that fails is dropped and its failure kept."""
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001  sinks are plug-ins, and a dead writer loses events
            if sink in self._sinks:
                self._sinks.remove(sink)
            self._report(_loss(sink, error, self._passing))

    def _report(self, loss: TelemetryLoss) -> None:
        if self._lost is None:
            self._lost = loss
        if self._on_loss is not None:
            self._on_loss(loss)


def _loss(sink: TelemetrySink, error: Exception, sequence: int) -> TelemetryLoss:
    first = error.first_lost if isinstance(error, LogError) else None
    known = isinstance(error, NissaError)
    reason = str(error) if known else f"telemetry sink {type(sink).__name__} failed: {error!r}"
    return TelemetryLoss(since_sequence=sequence if first is None else first, reason=reason)
