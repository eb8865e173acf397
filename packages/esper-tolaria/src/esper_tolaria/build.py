"""Chooses how hosts are laid out over this machine."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from esper_leyline import HostFactory, TaskSpec, TrainingConfig
from esper_tolaria.datasets import load_dataset
from esper_tolaria.devices import default_device, resolve_device
from esper_tolaria.errors import TolariaError
from esper_tolaria.local import LocalEnvironment
from esper_tolaria.setup import make_setup
from esper_tolaria.sharded import ShardedEnvironment


def build_environment(
    task: TaskSpec,
    config: TrainingConfig,
    host_factory: HostFactory,
    device: str | torch.device | None = None,
    workers: int | None = None,
) -> LocalEnvironment | ShardedEnvironment:
    """Builds the environment that should be fastest here; ``plan`` on it says which it is.

    On CUDA all hosts live in this process. On a CPU each available core gets a worker
    process with a shard of the hosts, where there are several cores and several hosts;
    otherwise the hosts live in this process. The plan changes no number in any report.

    Args:
        task: What the hosts are and learn.
        config: ``n_envs``, ``max_epochs``, ``slots``, ``max_seeds``, ``host``,
            ``lifecycle``, ``governor``, ``counterfactuals``, ``amp``, ``amp_dtype``,
            ``data_root`` and ``device`` are read, and the reward's mode and the telemetry
            for what they need to have measured.
        host_factory: Builds hosts; a top-level function, so that workers can import it.
        device: Where hosts train; ``None`` takes the configuration's, which by default
            is the first CUDA device where there is one and else the CPU.
        workers: Worker processes on a CPU; ``None`` chooses, 1 keeps the hosts here.

    Raises:
        TolariaError: If the device is not there, the slots are not the host's, the data
            can neither be found nor downloaded, or workers were asked for where there can
            be none.
    """
    place = resolve_device(device or config.device or default_device())
    setup = make_setup(task, config, host_factory)
    count = _worker_count(config.n_envs, place, workers)
    if count > 1:
        return ShardedEnvironment(setup, count)
    return LocalEnvironment(setup, load_dataset(task.data, Path(config.data_root)), place)


def _worker_count(environments: int, device: torch.device, workers: int | None) -> int:
    if workers is not None and workers < 1:
        raise TolariaError(f"workers is {workers}; use at least 1, or None to choose")
    if device.type != "cpu":
        if workers is not None and workers > 1:
            raise TolariaError(f"workers is {workers}, but hosts on {device} share one process")
        return 1
    return min(workers or len(os.sched_getaffinity(0)), environments)
