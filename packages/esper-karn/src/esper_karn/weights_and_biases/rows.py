"""Rows of metrics over rounds, made from events one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

from esper_karn.state.rounds import Mean
from esper_karn.weights_and_biases.metrics import metrics_of
from esper_leyline.events import Event, RunStarted

X_AXIS = "round"
"""Name of the metric that all others are plotted over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Metrics of one moment of a run.

    Attributes:
        sequence: Sequence number of the last event in it.
        wall_time: Unix time of that event.
        values: By name; ``round`` counts finished rounds and the finished share of the current one.
    """

    sequence: int
    wall_time: float
    values: dict[str, float]


@dataclass(slots=True)
class _Open:
    position: float
    boot: int
    sequence: int = -1
    wall_time: float = 0.0
    samples: dict[str, Mean] = field(default_factory=dict)


class RowBuilder:
    """Collects the metrics of events into rows, one for each epoch of all hosts.

    Several values of one metric in a row are averaged: those of hosts, of the episodes of a
    round, and of measurements of the machine. A NaN counts only where there is no other value.

    Args:
        without: Kinds of events whose metrics are left out.
    """

    def __init__(self, without: frozenset[str] = frozenset()) -> None:
        self._without = without
        self._open: _Open | None = None
        self._episodes: dict[str, Mean] = {}
        self._max_epochs: int | None = None

    def add(self, event: Event) -> Row | None:
        """Adds an event; returns the row that it completes, if any."""
        if isinstance(event.payload, RunStarted):
            self._max_epochs = event.payload.config.max_epochs
        if event.kind == "run_resumed":
            # The episodes of an unfinished round are trained again.
            self._episodes = {}
        if event.kind in self._without:
            return None
        found = metrics_of(event)
        if not found:
            return None
        if event.kind == "episode_outcome":
            _merge(self._episodes, found)
            return None
        row = self._at(self._position(event), event.boot)
        assert self._open is not None
        self._open.sequence, self._open.wall_time = event.sequence, event.wall_time
        _merge(self._open.samples, found)
        if event.kind == "round_completed":
            self._open.samples |= self._episodes
            self._episodes = {}
        return row

    def finish(self) -> Row | None:
        """Returns the row that is still open, if any."""
        row, self._open = _closed(self._open), None
        return row

    def _position(self, event: Event) -> float | None:
        """Returns the finished rounds at an event; ``None`` if it belongs to no round."""
        if event.round is None:
            return None
        if event.epoch is None or self._max_epochs is None:
            return float(event.round)
        return event.round - 1 + min(1.0, event.epoch / self._max_epochs)

    def _at(self, position: float | None, boot: int) -> Row | None:
        """Opens a row at a position, ``None`` for the present one; returns the row it closes."""
        old = self._open
        if old is not None and old.boot == boot and position in (None, old.position):
            return None
        if position is None:
            position = 0.0 if old is None else old.position
        self._open = _Open(position, boot)
        return _closed(old)


def _merge(samples: dict[str, Mean], found: dict[str, float]) -> None:
    for name, value in found.items():
        samples[name] = samples.get(name, Mean()) + Mean.of(value)


def _closed(row: _Open | None) -> Row | None:
    if row is None or not row.samples:
        return None
    values = {name: mean.value for name, mean in row.samples.items()}
    return Row(
        sequence=row.sequence,
        wall_time=row.wall_time,
        values={
            X_AXIS: row.position,
            "boot": float(row.boot),
            **{name: value for name, value in values.items() if value is not None},
        },
    )
