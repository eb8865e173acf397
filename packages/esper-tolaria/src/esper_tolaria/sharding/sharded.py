"""K hosts distributed over worker processes, one per core or per device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from esper_leyline import (
    EnvironmentSpec,
    EvaluationReport,
    FactoredAction,
    HostPlacement,
    NullTelemetry,
    StepReport,
    Telemetry,
)
from esper_leyline.events import Phase, RunPhase, WorkerRestarted
from esper_tolaria.engine.checks import (
    check_actions,
    check_rng_seeds,
)
from esper_tolaria.engine.setup import HostFacts, HostSetup
from esper_tolaria.registry import load_dataset
from esper_tolaria.sharding.processes import STOP_SECONDS, ProcessTransport
from esper_tolaria.sharding.replay import ReplayedShard, Restart
from esper_tolaria.sharding.shared_data import share_dataset
from esper_tolaria.sharding.transports import LocalTransport, Transport
from esper_tolaria.sharding.worker import ShardInit, pickle_setup


class ShardedEnvironment:
    """Leyline's ``Environment`` over shards that each hold some of the hosts.

    Its reports are bit-identical to those of ``LocalEnvironment``. A worker that dies is started
    again and replays its episodes, so that the reports are those of a run without the loss. After
    an interrupted call the shards can still be used; late replies are discarded.

    Attributes:
        plan: How hosts are distributed, in one line.
    """

    def __init__(
        self,
        setup: HostSetup,
        devices: Sequence[torch.device],
        transport: Callable[[str], Transport] = ProcessTransport,
        *,
        telemetry: Telemetry | None = None,
    ) -> None:
        """Starts one shard per device in parallel and prepares the data meanwhile.

        Args:
            setup: What the hosts are built from.
            devices: The device of each shard; the CPU may be listed several times.
            transport: Starts a shard by name: ``ProcessTransport`` in its own process,
                ``LocalTransport`` in this one.
            telemetry: Receives the phases of the start, and ``worker_restarted``.

        Raises:
            TolariaError: If the data cannot be loaded or a shard does not start.
        """
        self._setup = setup
        self._devices = tuple(devices)
        self._shards: list[slice] = []
        self._hosts = 0
        self._telemetry = telemetry or NullTelemetry()
        pickled, count = pickle_setup(setup), len(devices)
        self._telemetry.emit(RunPhase(phase=Phase.STARTING_WORKERS))
        self._workers = [
            ReplayedShard(
                f"worker {index + 1} of {count}",
                transport,
                partial(self._open_again, pickled, devices[index]),
                partial(self._report_restart, index),
            )
            for index in range(count)
        ]
        try:
            facts = self._open(pickled, devices)
        except BaseException:
            self.close()
            raise
        self._spec = setup.environment_spec(facts.parameters)
        self.plan = _describe(
            setup, devices, stacked=facts.stacks, in_processes=transport is not LocalTransport
        )

    @property
    def spec(self) -> EnvironmentSpec:
        """What a policy is built for."""
        return self._spec

    @property
    def placements(self) -> tuple[HostPlacement, ...]:
        """Where each host computes: its device, and the index of its worker."""
        return tuple(
            HostPlacement(device=str(device), worker=index)
            for index, (device, shard) in enumerate(zip(self._devices, self._shards, strict=False))
            for _ in range(shard.start, shard.stop)
        )

    @property
    def worker_pids(self) -> tuple[int | None, ...]:
        """The process ids of the shards."""
        return tuple(worker.pid for worker in self._workers)

    def reset(self, rng_seeds: Sequence[int]) -> tuple[StepReport, ...]:
        """Starts one episode with a fresh host per random seed.

        Raises:
            TolariaError: If there are no random seeds, or more than environments, or a worker
                failed.
        """
        check_rng_seeds(rng_seeds, self._spec.environments)
        members = list(enumerate(rng_seeds))
        self._hosts = len(members)
        self._shards = _split_hosts(len(members), len(self._workers))
        return self._call_shards("start", members)

    def step(self, actions: Sequence[FactoredAction]) -> tuple[StepReport, ...]:
        """Applies one action per host and trains each host for one epoch.

        Raises:
            TolariaError: If there is not one action per host, no episode was started, or a
                worker failed.
        """
        check_actions(actions, self._hosts)
        return self._call_shards("step", actions)

    def evaluate(self) -> tuple[EvaluationReport, ...]:
        """Evaluates the hosts on the test split; losses in nats, accuracies in percent."""
        return self._call_shards("evaluate")

    def close(self) -> None:
        """Stops the workers."""
        for worker in self._workers:
            worker.close()
        deadline = monotonic() + STOP_SECONDS
        for worker in self._workers:
            worker.join(max(0.0, deadline - monotonic()))
        self._workers, self._shards, self._hosts = [], [], 0

    def _open(self, pickled: bytes, devices: Sequence[torch.device]) -> HostFacts:
        """Sends setup and data to every shard; returns the facts of a fresh host."""
        self._telemetry.emit(RunPhase(phase=Phase.PREPARING_DATA))
        data = load_dataset(self._setup.task, Path(self._setup.config.data_root))
        self._telemetry.emit(RunPhase(phase=Phase.BUILDING))
        with share_dataset(data) as shared:
            facts: list[HostFacts] = self._call(
                [
                    (
                        worker.transport,
                        "open",
                        (ShardInit(setup=pickled, device=name, data=shared),),
                    )
                    for worker, name in zip(self._workers, map(str, devices), strict=True)
                ]
            )
        return facts[0]

    def _open_again(self, pickled: bytes, device: torch.device, worker: Transport) -> None:
        """Sends setup and data to a worker that was started again."""
        data = load_dataset(self._setup.task, Path(self._setup.config.data_root))
        with share_dataset(data) as shared:
            worker.send("open", ShardInit(setup=pickled, device=str(device), data=shared))
            worker.receive()

    def _report_restart(self, index: int, restart: Restart) -> None:
        self._telemetry.emit(
            WorkerRestarted(
                worker=index,
                environments=restart.environments,
                reason=restart.reason,
                replayed_epochs=restart.replayed_epochs,
            )
        )

    def _call_shards(self, method: str, *per_host: Sequence[Any]) -> tuple[Any, ...]:
        """Calls a method on every worker that has hosts, with its part of the arguments."""
        calls = [
            (worker, method, tuple(values[shard] for values in per_host))
            for worker, shard in zip(self._workers, self._shards, strict=True)
            if shard.stop > shard.start
        ]
        return tuple(each for results in self._call(calls) for each in results)

    def _call(self, calls: Sequence[tuple[Transport, str, tuple[Any, ...]]]) -> list[Any]:
        for worker, method, arguments in calls:
            worker.send(method, *arguments)
        return [worker.receive() for worker, _, _ in calls]


def _split_hosts(hosts: int, workers: int) -> list[slice]:
    """Divides hosts into slices whose lengths differ by at most one."""
    bounds = [hosts * index // workers for index in range(workers + 1)]
    return [slice(first, last) for first, last in pairwise(bounds)]


def _describe(
    setup: HostSetup, devices: Sequence[torch.device], *, stacked: bool, in_processes: bool
) -> str:
    hosts, shards = setup.config.n_envs, len(devices)
    least, most = hosts // shards, -(-hosts // shards)
    each = f"{most}" if least == most else f"{least} or {most}"
    each += " host" if most == 1 else " hosts"
    where = "worker processes" if in_processes else "shards in this process"
    if devices[0].type == "cpu":
        together = ", computed together" if stacked else ""
        how = f"one thread each, {each} per worker{together}"
    else:
        names = ", ".join(map(str, devices))
        how = f"on {names}, one stream per host, {each} per worker"
    return f"{shards} {where}, {how}"
