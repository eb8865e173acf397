"""A value compared with limits, with hysteresis."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from esper_leyline.wire import Float


class Level(StrEnum):
    """How good or bad a value is."""

    UNKNOWN = "unknown"
    """Too little was measured."""
    OK = "ok"
    WARNING = "warning"
    BAD = "bad"

    @property
    def rank(self) -> int:
        """Its place in the order of levels; the worst has the highest."""
        return _RANKS[self]


_RANKS = {level: rank for rank, level in enumerate(Level)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a value.

    A level is entered after ``patience`` values in a row that reach its limit, and left at the
    first value that is better than the limit by ``margin``. Values between those two points keep
    the level as it is.

    Attributes:
        warning: Limit of ``WARNING``.
        bad: Limit of ``BAD``, further out; ``None`` if only values that are not finite are bad.
        below: Whether values below the limits are the bad ones. Otherwise those from a limit on.
        margin: By how much a value must be better than a limit to leave its level.
        patience: Values in a row that enter a level.
    """

    warning: float
    bad: float | None = None
    below: bool = False
    margin: float = 0.0
    patience: int = 1

    def reached(self, value: float) -> Level:
        """Returns the level whose limit a value reaches."""
        return self._level(value, self._reaches)

    def within(self, value: float) -> Level:
        """Returns the worst level that a value does not leave."""
        return self._level(value, self._keeps)

    def _level(self, value: float, holds: Callable[[float, float], bool]) -> Level:
        if not math.isfinite(value) or (self.bad is not None and holds(value, self.bad)):
            return Level.BAD
        return Level.WARNING if holds(value, self.warning) else Level.OK

    def _reaches(self, value: float, limit: float) -> bool:
        return value < limit if self.below else value >= limit

    def _keeps(self, value: float, limit: float) -> bool:
        better = value >= limit + self.margin if self.below else value <= limit - self.margin
        return self._reaches(value, limit) or not better


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A value that is measured again and again, and its level.

    Attributes:
        value: What was measured last, ``None`` before that.
        level: Its level.
        row: Values in a row that reached the limit of ``WARNING``.
        bad_row: Values in a row that reached the limit of ``BAD``.
    """

    value: Float | None = None
    level: Level = Level.UNKNOWN
    row: int = 0
    bad_row: int = 0

    @property
    def is_alarming(self) -> bool:
        """Whether the level is ``WARNING`` or ``BAD``."""
        return self.level.rank >= Level.WARNING.rank

    def observe(self, value: float, limits: Limits) -> Gauge:
        """Returns the gauge after one more value.

        A value that is NaN or infinite is bad at once. Before the first level is known, values
        that reach a limit but are too few to enter its level leave it unknown.
        """
        reached = limits.reached(value)
        row = self.row + 1 if reached is not Level.OK else 0
        bad_row = self.bad_row + 1 if reached is Level.BAD else 0
        if not math.isfinite(value):
            level = Level.BAD
        else:
            entered = _entered(row, bad_row, limits.patience)
            kept = min(self.level, limits.within(value), key=_rank)
            level = max(entered, kept, key=_rank)
            if self.level is Level.UNKNOWN and row and level is Level.OK:
                level = Level.UNKNOWN
        return Gauge(value=value, level=level, row=row, bad_row=bad_row)

    def worsened(self, before: Gauge) -> bool:
        """Whether the level became ``WARNING`` or ``BAD`` and was better before."""
        return self.is_alarming and self.level.rank > before.level.rank

    def recovered(self, before: Gauge) -> bool:
        """Whether the level was ``WARNING`` or ``BAD`` before and is not now."""
        return before.is_alarming and not self.is_alarming


def _entered(row: int, bad_row: int, patience: int) -> Level:
    if bad_row >= patience:
        return Level.BAD
    return Level.WARNING if row >= patience else Level.OK


def _rank(level: Level) -> int:
    return level.rank
