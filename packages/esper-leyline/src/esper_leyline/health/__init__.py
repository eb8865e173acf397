"""Rules of health: levels with hysteresis, stable losses, memory and speed.

The trainer's monitor and the readers of its log judge by these same rules.
"""

from esper_leyline.health.gauge import Gauge, Level, Limits
from esper_leyline.health.loss import LARGEST_STABLE_FALL, SMALLEST_STABLE_FALL, is_loss_stable
from esper_leyline.health.memory import MEMORY_LIMITS, MemoryKind, MemoryUse, memory_uses
from esper_leyline.health.speed import SPEED_LIMITS, SpeedHistory

__all__ = [
    "LARGEST_STABLE_FALL",
    "MEMORY_LIMITS",
    "SMALLEST_STABLE_FALL",
    "SPEED_LIMITS",
    "Gauge",
    "Level",
    "Limits",
    "MemoryKind",
    "MemoryUse",
    "SpeedHistory",
    "is_loss_stable",
    "memory_uses",
]
