"""Memory that gets short: of the machine, its disk and each GPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from esper_leyline.events import MemoryWarning
from esper_nissa.monitor.alarm import Alarm

MEMORY, DISK = "memory", "disk"
"""Names of the machine's memory and disk; a GPU's is ``cuda:`` and its number in the driver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When one kind of memory is short.

    Attributes:
        high: Share in use that counts as short.
        low: Share in use at which the alarm ends.
        free_mb: With more free MB than this it is not short, whatever the share in use.
    """

    high: float
    low: float
    free_mb: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryThresholds:
    """Limits of the rule for memory.

    Attributes:
        memory: Of the machine's memory.
        disk: Of the disk of the run directory.
        gpu: Of each GPU's memory.
        patience: Short measurements in a row that start an alarm.
    """

    memory: Limits = Limits(high=0.92, low=0.85)
    disk: Limits = Limits(high=0.95, low=0.93, free_mb=2000.0)
    gpu: Limits = Limits(high=0.97, low=0.92)
    patience: int = 2

    def limits(self, device: str) -> Limits:
        """Returns the limits of a device by its name."""
        return {MEMORY: self.memory, DISK: self.disk}.get(device, self.gpu)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Memory in use on one device, such as ``memory`` or ``cuda:0``, in MB."""

    device: str
    used_mb: float
    total_mb: float


@dataclass(frozen=True, slots=True)
class MemoryTrend:
    """The alarm of each device, by name."""

    alarms: Mapping[str, Alarm] = field(default_factory=lambda: MappingProxyType({}))


def observe_memory(
    trend: MemoryTrend, use: MemoryUse, thresholds: MemoryThresholds
) -> tuple[MemoryTrend, MemoryWarning | None]:
    """Returns the trend after one more measurement, and a warning if a device's alarm starts."""
    if not (math.isfinite(use.used_mb) and use.total_mb > 0):
        return trend, None
    share, limits = use.used_mb / use.total_mb, thresholds.limits(use.device)
    roomy = use.total_mb - use.used_mb > limits.free_mb
    before = trend.alarms.get(use.device, Alarm())
    alarm = before.observe(
        bad=share >= limits.high and not roomy,
        good=share <= limits.low or roomy,
        patience=thresholds.patience,
    )
    trend = MemoryTrend(MappingProxyType({**trend.alarms, use.device: alarm}))
    if not alarm.starts(before):
        return trend, None
    return trend, MemoryWarning(device=use.device, used_mb=use.used_mb, total_mb=use.total_mb)
