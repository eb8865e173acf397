"""The machine, the processes of a run and the disk of its directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from esper_leyline.events import Vitals
from esper_nissa.vitals.gpus import MEGABYTE, Gpus

READS_PER_LISTING = 6
"""After as many readings, the run's processes are listed only at every sixth: it reads them all."""


class Machine:
    """Measures the machine for this process and its children.

    Args:
        folder: A folder on the disk that is measured; it may vanish.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gpus = Gpus()
        self._process = psutil.Process()
        self._children: list[psutil.Process] = []
        self._reads = 0

    def read(self) -> Vitals:
        """Measures once. The use of the CPU is that since the last reading."""
        cpu = _value(psutil.cpu_percent)
        memory = _value(psutil.virtual_memory)
        disk = _value(lambda: psutil.disk_usage(str(self._folder)))
        vitals = Vitals(
            cpu_percent=cpu if self._reads else None,
            rss_mb=self._resident(),
            memory_mb=None if memory is None else (memory.total - memory.available) / MEGABYTE,
            total_memory_mb=None if memory is None else memory.total / MEGABYTE,
            disk_free_mb=None if disk is None else disk.free / MEGABYTE,
            total_disk_mb=None if disk is None else disk.total / MEGABYTE,
            gpus=self._gpus.read(),
        )
        self._reads += 1
        return vitals

    def _resident(self) -> float:
        """Sums resident memory over the run's processes; shared pages count in each."""
        if self._reads < READS_PER_LISTING or self._reads % READS_PER_LISTING == 0:
            self._children = _value(lambda: self._process.children(recursive=True)) or []
        infos = [_value(process.memory_info) for process in (self._process, *self._children)]
        return float(sum(info.rss for info in infos if info is not None)) / MEGABYTE


def _value(read: Callable[[], Any]) -> Any:
    """Returns a measurement, ``None`` where the system does not give it."""
    try:
        return read()
    except (OSError, psutil.Error):
        return None
