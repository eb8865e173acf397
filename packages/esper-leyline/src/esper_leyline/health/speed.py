"""When training has become slow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from esper_leyline.health.gauge import Limits
from esper_leyline.wire import Float

SPEED_LIMITS = Limits(warning=0.5, bad=0.25, below=True, margin=0.25, patience=3)
"""Limits of a round's speed as a share of the usual speed."""

WINDOW = 20
"""Rounds whose median speed is the usual one. A new speed that lasts becomes the usual one."""

LEAST_ROUNDS = 5
"""Rounds that are needed to know the usual speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedHistory:
    """The speeds of the last rounds of a process, in host epochs per second.

    Attributes:
        recent: At most ``WINDOW`` of them, the latest last.
    """

    recent: tuple[Float, ...] = ()

    @property
    def usual(self) -> float | None:
        """The median speed; ``None`` after too few rounds."""
        return median(self.recent) if len(self.recent) >= LEAST_ROUNDS else None

    def share(self, speed: float) -> float | None:
        """Returns a speed as a share of the usual one; ``None`` if there is no usual speed."""
        usual = self.usual
        return speed / usual if usual else None

    def add(self, speed: float) -> SpeedHistory:
        """Returns the history after one more round; a speed that is not finite is left out."""
        if not math.isfinite(speed):
            return self
        return SpeedHistory(recent=(*self.recent, speed)[-WINDOW:])
