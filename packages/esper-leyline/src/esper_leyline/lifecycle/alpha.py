"""Alpha ramps: how strongly a seed is blended in, tick by tick."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from esper_leyline.actions import AlphaCurve
from esper_leyline.wire import WIRE_CONFIG, Float

_STEEPNESS = {AlphaCurve.SIGMOID_6: 6.0, AlphaCurve.SIGMOID_12: 12.0, AlphaCurve.SIGMOID_24: 24.0}


def curve_value(curve: AlphaCurve, progress: float) -> float:
    """Returns the share of a ramp covered at ``progress``; exactly 0 at 0 and 1 at 1.

    The sigmoids are logistic curves of the named steepness, rescaled so that their
    ends are exact.
    """
    if progress <= 0.0:
        return 0.0
    if progress >= 1.0:
        return 1.0
    if curve is AlphaCurve.LINEAR:
        return progress
    if curve is AlphaCurve.COSINE:
        return 0.5 - 0.5 * math.cos(math.pi * progress)
    half = _STEEPNESS[curve] / 2
    span = math.tanh(half / 2)
    return 0.5 + 0.5 * math.tanh(half * (progress - 0.5)) / span


@dataclass(frozen=True, slots=True, kw_only=True)
class AlphaRamp:
    """A move of alpha from ``start`` to ``target`` in ``steps`` ticks."""

    __pydantic_config__ = WIRE_CONFIG

    start: Float
    target: Float
    steps: int
    done: int = 0
    curve: AlphaCurve = AlphaCurve.LINEAR

    @property
    def arrived(self) -> bool:
        """Whether the ramp has reached its target."""
        return self.done >= self.steps

    @property
    def alpha(self) -> float:
        """The value of alpha now; exactly ``start`` before and ``target`` after the ramp."""
        if self.arrived:
            return self.target
        if self.done == 0:
            return self.start
        share = curve_value(self.curve, self.done / self.steps)
        return self.start + (self.target - self.start) * share

    def stepped(self) -> AlphaRamp:
        """Returns the ramp one tick later."""
        return self if self.arrived else replace(self, done=self.done + 1)
