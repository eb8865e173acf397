"""What changes about the machine: memory that is nearly full, and training that is slow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from esper_leyline.events import MemoryWarning, ThroughputWarning, Vitals
from esper_leyline.health import (
    MEMORY_LIMITS,
    SPEED_LIMITS,
    Gauge,
    MemoryKind,
    SpeedHistory,
    memory_uses,
)

MemoryGauges = Mapping[MemoryKind, Gauge]
"""How full each kind of memory is."""


def observe_memory(
    gauges: MemoryGauges, vitals: Vitals
) -> tuple[MemoryGauges, tuple[MemoryWarning, ...]]:
    """Returns the gauges after one more measurement, and a warning for each that got worse."""
    after, warnings = dict(gauges), []
    for use in memory_uses(vitals):
        before = gauges.get(use.kind, Gauge())
        gauge = after[use.kind] = before.observe(use.value, MEMORY_LIMITS[use.kind])
        if gauge.worsened(before):
            warnings.append(
                MemoryWarning(device=use.device, used_mb=use.used_mb, total_mb=use.total_mb)
            )
    return after, tuple(warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedTrend:
    """The speed of a run, and how the latest round compares with it.

    Attributes:
        history: Speeds of the rounds so far.
        gauge: The latest speed as a share of the usual one.
    """

    history: SpeedHistory = field(default_factory=SpeedHistory)
    gauge: Gauge = field(default_factory=Gauge)


def observe_speed(trend: SpeedTrend, speed: float) -> tuple[SpeedTrend, ThroughputWarning | None]:
    """Returns the trend after one more round, and a warning if its level got worse.

    Args:
        trend: The rounds so far.
        speed: Of the round, in host epochs per second.
    """
    usual, share = trend.history.usual, trend.history.share(speed)
    gauge = trend.gauge if share is None else trend.gauge.observe(share, SPEED_LIMITS)
    after = SpeedTrend(history=trend.history.add(speed), gauge=gauge)
    if usual is None or not gauge.worsened(trend.gauge):
        return after, None
    return after, ThroughputWarning(current=speed, typical=usual)
