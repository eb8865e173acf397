"""Chooses how hosts are distributed over processes and devices."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from esper_leyline import Measurement, NullTelemetry, TaskSpec, Telemetry, TrainingConfig
from esper_leyline.events import Phase, RunPhase
from esper_leyline.ports import HostFactory
from esper_leyline.profiles import Profile
from esper_tolaria.datasets.feeds import check_feed
from esper_tolaria.engine.devices import default_device, resolve_device
from esper_tolaria.engine.local import LocalEnvironment
from esper_tolaria.engine.setup import check_task, make_setup
from esper_tolaria.errors import TolariaError
from esper_tolaria.registry import load_dataset
from esper_tolaria.sharding.sharded import ShardedEnvironment
from esper_tolaria.validation.counterfactuals import add_required

MOST_WORKERS = 1024


def build_environment(
    task: TaskSpec,
    config: TrainingConfig,
    host_factory: HostFactory,
    device: str | torch.device | None = None,
    workers: int | None = None,
    *,
    requires: Collection[Measurement] = (),
    profile: Profile | None = None,
    telemetry: Telemetry | None = None,
) -> LocalEnvironment | ShardedEnvironment:
    """Builds the environment that should be fastest on this machine; its ``plan`` describes it.

    On CUDA all hosts are in this process, or in one process per device if several devices are
    named. On a CPU there is one worker process per available core, each with a shard of the
    hosts, if there are several cores and several hosts; otherwise the hosts are in this process.
    The plan does not change the numbers of a report.

    Args:
        task: What the hosts are and learn.
        config: ``n_envs``, ``max_epochs``, ``slots``, ``max_seeds``, ``host``,
            ``lifecycle``, ``governor``, ``counterfactuals``, ``feed``, ``amp``,
            ``data_root``, ``device`` and ``devices`` are read.
        host_factory: Builds hosts; a top-level function, so that workers can import it.
        device: Where hosts train; ``None`` takes the configuration's ``devices``, or its
            ``device``, which by default is the first CUDA device where there is one and
            else the CPU.
        workers: Worker processes on a CPU; ``None`` takes the configuration's ``workers``,
            and where that is ``None`` too, chooses. 1 keeps the hosts here.
        requires: Counterfactuals to measure besides those of ``config.counterfactuals``: what the
            run's reward and telemetry need.
        profile: What to measure on hosts for telemetry; ``None`` for nothing.
        telemetry: Receives the phases (starting workers, preparing data, building), and
            ``worker_restarted``.

    Raises:
        TolariaError: If a device is not there, the data can neither be found nor downloaded,
            or ``check_environment`` refuses a setting.
    """
    names = [device] if device is not None else [*config.devices]
    devices = [resolve_device(name) for name in names or [config.device or default_device()]]
    workers = config.workers if workers is None else workers
    check_environment(task, config, devices, workers)
    measured = add_required(config.counterfactuals, requires)
    config = config.model_copy(update={"counterfactuals": measured})
    setup = make_setup(task, config, host_factory, profile)
    if len(devices) == 1:
        devices *= _worker_count(config.n_envs, devices[0], workers)
    if len(devices) > 1:
        return ShardedEnvironment(setup, devices[: config.n_envs], telemetry=telemetry)
    telemetry = telemetry or NullTelemetry()
    telemetry.emit(RunPhase(phase=Phase.PREPARING_DATA))
    data = load_dataset(task, Path(config.data_root))
    telemetry.emit(RunPhase(phase=Phase.BUILDING))
    return LocalEnvironment(setup, data, devices[0])


def check_environment(
    task: TaskSpec,
    config: TrainingConfig,
    devices: Sequence[torch.device],
    workers: int | None,
) -> None:
    """Checks that settings fit each other, the task and the devices, before anything is built.

    Args:
        task: What the hosts are and learn.
        config: As for ``build_environment``.
        devices: Where hosts train.
        workers: Worker processes on a CPU; ``None`` chooses.

    Raises:
        TolariaError: If devices are of several kinds, batches cannot come as ``feed`` says,
            there cannot be so many workers, the slots are not the host's, or data is augmented
            that is not images.
    """
    _check_kinds(devices)
    check_feed(config.feed, devices[0])
    _check_workers(workers, devices)
    check_task(task, config)


def _check_workers(workers: int | None, devices: Sequence[torch.device]) -> None:
    if workers is None:
        return
    if not 1 <= workers <= MOST_WORKERS:
        raise TolariaError(
            f"workers is {workers}; use 1 to {MOST_WORKERS}, or None to choose one a core"
        )
    if len(devices) > 1:
        raise TolariaError(f"workers is {workers}, and each of {len(devices)} devices takes one")
    if devices[0].type != "cpu" and workers > 1:
        raise TolariaError(f"workers is {workers}, but hosts on {devices[0]} share one process")


def _check_kinds(devices: Sequence[torch.device]) -> None:
    """Refuses devices of several kinds, on which hosts would round differently."""
    kinds = sorted({each.type for each in devices})
    if len(kinds) > 1:
        raise TolariaError(
            f"devices are of several kinds ({', '.join(kinds)}), and a host's numbers would depend "
            "on where it lands; use one kind"
        )
    twice = [str(each) for each in devices if each.type == "cuda" and devices.count(each) > 1]
    if twice:
        raise TolariaError(f"device {twice[0]} is named twice; name each GPU once")


def _worker_count(environments: int, device: torch.device, workers: int | None) -> int:
    if device.type != "cpu":
        return 1
    return min(workers or len(os.sched_getaffinity(0)), environments)
