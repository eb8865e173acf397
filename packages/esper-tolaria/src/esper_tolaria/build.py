"""Chooses how hosts are laid out over this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from esper_leyline import HostFactory, TaskSpec, TrainingConfig
from esper_tolaria.datasets import load_dataset
from esper_tolaria.devices import default_device, resolve_device
from esper_tolaria.errors import TolariaError
from esper_tolaria.feeds import check_feed
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

    On CUDA all hosts live in this process, or in a process a device where several devices
    are named. On a CPU each available core gets a worker process with a shard of the
    hosts, where there are several cores and several hosts; otherwise the hosts live in
    this process. The plan changes no number in any report.

    Args:
        task: What the hosts are and learn.
        config: ``n_envs``, ``max_epochs``, ``slots``, ``max_seeds``, ``host``,
            ``lifecycle``, ``governor``, ``counterfactuals``, ``feed``, ``amp``,
            ``data_root``, ``device`` and ``devices`` are read.
        host_factory: Builds hosts; a top-level function, so that workers can import it.
        device: Where hosts train; ``None`` takes the configuration's ``devices``, or its
            ``device``, which by default is the first CUDA device where there is one and
            else the CPU.
        workers: Worker processes on a CPU; ``None`` chooses, 1 keeps the hosts here.

    Raises:
        TolariaError: If a device is not there, the slots are not the host's, the data
            can neither be found nor downloaded, batches cannot come as ``feed`` says, or
            workers were asked for where there can be none.
    """
    names = [device] if device is not None else [*config.devices]
    places = [resolve_device(name) for name in names or [config.device or default_device()]]
    _check_places(places)
    check_feed(config.feed, places[0])
    setup = make_setup(task, config, host_factory)
    if len(places) == 1:
        places *= _worker_count(config.n_envs, places[0], workers)
    elif workers is not None:
        raise TolariaError(f"workers is {workers}, and each of {len(places)} devices takes one")
    if len(places) > 1:
        return ShardedEnvironment(setup, places[: config.n_envs])
    return LocalEnvironment(setup, load_dataset(task.data, Path(config.data_root)), places[0])


def _check_places(places: Sequence[torch.device]) -> None:
    """Refuses devices of several kinds, on which hosts would round differently."""
    kinds = sorted({place.type for place in places})
    if len(kinds) > 1:
        raise TolariaError(
            f"devices are of several kinds ({', '.join(kinds)}), and a host's numbers would depend "
            "on where it lands; use one kind"
        )
    twice = [str(place) for place in places if place.type == "cuda" and places.count(place) > 1]
    if twice:
        raise TolariaError(f"device {twice[0]} is named twice; name each GPU once")


def _worker_count(environments: int, device: torch.device, workers: int | None) -> int:
    if workers is not None and workers < 1:
        raise TolariaError(f"workers is {workers}; use at least 1, or None to choose")
    if device.type != "cpu":
        if workers is not None and workers > 1:
            raise TolariaError(f"workers is {workers}, but hosts on {device} share one process")
        return 1
    return min(workers or len(os.sched_getaffinity(0)), environments)
