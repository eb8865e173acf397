"""When memory, the disk or a GPU is nearly full."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from esper_leyline.events import Vitals
from esper_leyline.health.gauge import Limits


class MemoryKind(StrEnum):
    """What can be full."""

    MEMORY = "memory"
    """Memory of the machine."""
    GPU_MEMORY = "gpu_memory"
    """Memory of the GPU that is fullest."""
    DISK = "disk"
    """Disk of the run directory."""


MEMORY_LIMITS: Mapping[MemoryKind, Limits] = MappingProxyType(
    {
        MemoryKind.MEMORY: Limits(warning=0.92, bad=0.97, margin=0.05, patience=2),
        # PyTorch keeps freed memory of a GPU for itself, so a GPU may well be nearly full.
        MemoryKind.GPU_MEMORY: Limits(warning=0.97, bad=0.99, margin=0.03, patience=2),
        MemoryKind.DISK: Limits(warning=2000.0, bad=200.0, below=True, margin=100.0, patience=2),
    }
)
"""Limits of ``MemoryUse.value``: of memory the share in use, of a disk the free space in MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """How full something is.

    Attributes:
        kind: What it is.
        device: Its name in events: ``memory``, ``disk``, or a GPU such as ``cuda:0``, with its
            number in the driver.
        used_mb: Megabytes in use.
        total_mb: Megabytes in all.
    """

    kind: MemoryKind
    device: str
    used_mb: float
    total_mb: float

    @property
    def value(self) -> float:
        """What ``MEMORY_LIMITS`` limit."""
        if self.kind is MemoryKind.DISK:
            return self.total_mb - self.used_mb
        return self.used_mb / self.total_mb


def memory_uses(vitals: Vitals) -> Iterator[MemoryUse]:
    """Yields how full each kind of memory is, as far as it was measured."""
    if vitals.memory_mb is not None and vitals.total_memory_mb:
        yield MemoryUse(
            kind=MemoryKind.MEMORY,
            device="memory",
            used_mb=vitals.memory_mb,
            total_mb=vitals.total_memory_mb,
        )
    if vitals.disk_free_mb is not None and vitals.total_disk_mb:
        used = vitals.total_disk_mb - vitals.disk_free_mb
        yield MemoryUse(
            kind=MemoryKind.DISK, device="disk", used_mb=used, total_mb=vitals.total_disk_mb
        )
    gpus = [
        MemoryUse(
            kind=MemoryKind.GPU_MEMORY,
            device=f"cuda:{gpu.index}",
            used_mb=gpu.memory_mb,
            total_mb=gpu.total_memory_mb,
        )
        for gpu in vitals.gpus
        if gpu.memory_mb is not None and gpu.total_memory_mb
    ]
    if gpus:
        yield max(gpus, key=lambda use: math.inf if math.isnan(use.value) else use.value)
