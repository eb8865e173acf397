"""Starts what workers are made from before this process imports torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_FIRST_GPU = Path("/dev/nvidia0")


def start_early(flags: Any) -> None:
    """Lets another process import torch for the workers, while this one imports it for itself.

    Only where a run is likely to have workers: on a CPU with several cores. A run that has none
    after all ends that process with itself.

    Args:
        flags: Those of the command; ``device`` and ``workers`` are read.
    """
    device, workers = getattr(flags, "device", None), getattr(flags, "workers", None)
    on_cpu = device == "cpu" or (device is None and not _FIRST_GPU.exists())
    if on_cpu and workers != 1 and len(os.sched_getaffinity(0)) > 1:
        from esper_tolaria import start_fork_server

        start_fork_server()
