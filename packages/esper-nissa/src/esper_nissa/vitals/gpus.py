"""The GPUs of the machine, read through NVIDIA's management library."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pynvml

from esper_leyline.events import GpuVitals

MEGABYTE = 1e6


class Gpus:
    """Reads every GPU of the machine; there are none without NVIDIA's driver."""

    def __init__(self) -> None:
        self._handles: list[Any] = []
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return
        with suppress(pynvml.NVMLError):
            count = pynvml.nvmlDeviceGetCount()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]

    def read(self) -> tuple[GpuVitals, ...]:
        """Returns one measurement a GPU, in the driver's order."""
        return tuple(_read(index, handle) for index, handle in enumerate(self._handles))


def _read(index: int, handle: Any) -> GpuVitals:
    name = _value(lambda: pynvml.nvmlDeviceGetName(handle))
    memory = _value(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    use = _value(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
    return GpuVitals(
        index=index,
        name=name or f"GPU {index}",
        percent=None if use is None else float(use.gpu),
        memory_mb=None if memory is None else memory.used / MEGABYTE,
        total_memory_mb=None if memory is None else memory.total / MEGABYTE,
        temperature=_value(
            lambda: float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
        ),
    )


def _value(read: Callable[[], Any]) -> Any:
    """Returns what the driver says, ``None`` where it cannot say it."""
    try:
        return read()
    except pynvml.NVMLError:
        return None
