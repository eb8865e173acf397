"""Rules of health: levels with hysteresis, stable losses, memory, speed, updates of a policy.

The trainer and the readers of its log check values against these same limits.
"""

from esper_leyline.health.gauge import Gauge, Level, Limits
from esper_leyline.health.loss import LARGEST_STABLE_FALL, SMALLEST_STABLE_FALL, is_loss_stable
from esper_leyline.health.memory import MEMORY_LIMITS, MemoryKind, MemoryUse, memory_uses
from esper_leyline.health.policy import (
    CLIPPING_LIMITS,
    CRITIC_LIMITS,
    ENTROPY_LIMITS,
    GRADIENT_LIMITS,
    LARGEST_GRADIENT_NORM,
    LEAST_ENTROPY,
    LEAST_EXPLAINED_VARIANCE,
    LEAST_GRADIENT_KEPT,
    collapsed_entropy,
    entropy_above_floor,
)
from esper_leyline.health.speed import SPEED_LIMITS, SpeedHistory

__all__ = [
    "CLIPPING_LIMITS",
    "CRITIC_LIMITS",
    "ENTROPY_LIMITS",
    "GRADIENT_LIMITS",
    "LARGEST_GRADIENT_NORM",
    "LARGEST_STABLE_FALL",
    "LEAST_ENTROPY",
    "LEAST_EXPLAINED_VARIANCE",
    "LEAST_GRADIENT_KEPT",
    "MEMORY_LIMITS",
    "SMALLEST_STABLE_FALL",
    "SPEED_LIMITS",
    "Gauge",
    "Level",
    "Limits",
    "MemoryKind",
    "MemoryUse",
    "SpeedHistory",
    "collapsed_entropy",
    "entropy_above_floor",
    "is_loss_stable",
    "memory_uses",
]
