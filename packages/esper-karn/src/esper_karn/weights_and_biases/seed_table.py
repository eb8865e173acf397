"""The table of seeds: one row for each germination, fossilization and pruning."""

from __future__ import annotations

import math
from collections import deque

from esper_leyline import SeedEvent, SeedEventKind
from esper_leyline.events import Event

COLUMNS = (
    *("round", "epoch", "host", "slot", "event", "blueprint"),
    *("parameters", "age", "alpha", "contribution"),
)
"""Age in epochs, contribution in points of validation accuracy."""

MOST_ROWS = 10_000
"""Rows that are kept, the latest ones: Weights & Biases shows no more."""

_EVENTS = {
    SeedEventKind.GERMINATED: "germinated",
    SeedEventKind.FOSSILIZED: "fossilized",
    SeedEventKind.PRUNED: "pruned",
}


class SeedTable:
    """The seed events of a run.

    Attributes:
        rows: A value for each of ``COLUMNS``; ``None`` where it was not measured.
        left_out: Older rows that were dropped.
    """

    def __init__(self) -> None:
        self.rows: deque[list[object]] = deque(maxlen=MOST_ROWS)
        self.left_out = 0

    def add(self, event: Event) -> None:
        """Adds an event; ignores all that are no such event of a seed."""
        seed = event.payload
        if not isinstance(seed, SeedEvent) or seed.kind not in _EVENTS:
            return
        self.left_out += len(self.rows) == MOST_ROWS
        self.rows.append(
            [
                *(event.round, event.epoch, event.environment, seed.slot, _EVENTS[seed.kind]),
                *(seed.blueprint, seed.parameters, seed.age),
                *(_finite(seed.alpha), _finite(seed.contribution)),
            ]
        )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
