"""K hosts spread over worker processes, one thread each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from esper_leyline import EnvironmentSpec, EvaluationReport, FactoredAction, StepReport
from esper_tolaria.checks import check_actions, check_seeds, check_state, environment_state
from esper_tolaria.datasets import load_dataset
from esper_tolaria.processes import Worker
from esper_tolaria.setup import Setup
from esper_tolaria.worker import pack, pickle_setup


class ShardedEnvironment:
    """Leyline's ``Environment`` over worker processes that each own a shard of the hosts.

    Its reports equal those of ``LocalEnvironment`` bit for bit. An interrupted call leaves
    the workers usable: its answers are thrown away when they come.

    Attributes:
        plan: How the work is laid out, in one line.
    """

    def __init__(self, setup: Setup, workers: int) -> None:
        """Starts the workers side by side, and meanwhile prepares the data.

        Raises:
            TolariaError: If the data or a worker cannot be made ready.
        """
        self._setup = setup
        self._shards: list[slice] = []
        self._hosts = 0
        pickled = pickle_setup(setup)
        self._workers = [Worker(f"worker {index + 1} of {workers}") for index in range(workers)]
        try:
            shipment = pack(pickled, load_dataset(setup.task.data, Path(setup.config.data_root)))
            counts = self._ask([(worker, "open", (shipment,)) for worker in self._workers])
        except BaseException:
            self.close()
            raise
        self._spec = setup.environment_spec(counts[0])
        self.plan = _describe(setup, workers)

    @property
    def spec(self) -> EnvironmentSpec:
        """The fixed facts of this environment."""
        return self._spec

    @property
    def worker_pids(self) -> tuple[int | None, ...]:
        """The process ids of the workers, for those who watch them."""
        return tuple(worker.pid for worker in self._workers)

    def reset(self, seeds: Sequence[int]) -> tuple[StepReport, ...]:
        """Starts one episode a seed with fresh hosts.

        Raises:
            TolariaError: If there are no seeds, or more than environments, or a worker failed.
        """
        check_seeds(seeds, self._spec.environments)
        members = list(enumerate(seeds))
        self._hosts = len(members)
        self._shards = _shards(len(members), len(self._workers))
        return self._ask_shards("start", members)

    def step(self, actions: Sequence[FactoredAction]) -> tuple[StepReport, ...]:
        """Carries out one action a host and trains each for one epoch.

        Raises:
            TolariaError: If there is not one action a host, no episode was started, or a
                worker failed.
        """
        check_actions(actions, self._hosts)
        return self._ask_shards("step", actions)

    def evaluate(self) -> tuple[EvaluationReport, ...]:
        """Judges the hosts as they stand on the test split."""
        return self._ask_shards("evaluate")

    def state_dict(self) -> dict[str, Any]:
        """Returns what an exact continuation at an episode boundary needs."""
        return environment_state(self._setup)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what ``state_dict`` returned.

        Raises:
            TolariaError: If it came from an environment that differs.
        """
        check_state(state, self._setup)

    def close(self) -> None:
        """Ends the workers."""
        for worker in self._workers:
            worker.close()
        for worker in self._workers:
            worker.join()
        self._workers, self._shards, self._hosts = [], [], 0

    def _ask_shards(self, method: str, *per_host: Sequence[Any]) -> tuple[Any, ...]:
        """Asks every worker that has hosts, each with its part of a list; joins the answers."""
        calls = [
            (worker, method, tuple(values[shard] for values in per_host))
            for worker, shard in zip(self._workers, self._shards, strict=True)
            if shard.stop > shard.start
        ]
        return tuple(each for answer in self._ask(calls) for each in answer)

    def _ask(self, calls: Sequence[tuple[Worker, str, tuple[Any, ...]]]) -> list[Any]:
        for worker, method, arguments in calls:
            worker.send(method, *arguments)
        return [worker.receive() for worker, _, _ in calls]


def _shards(hosts: int, workers: int) -> list[slice]:
    """Cuts hosts into runs that differ in length by one at most."""
    bounds = [hosts * index // workers for index in range(workers + 1)]
    return [slice(first, last) for first, last in pairwise(bounds)]


def _describe(setup: Setup, workers: int) -> str:
    hosts = setup.config.n_envs
    least, most = hosts // workers, -(-hosts // workers)
    each = f"{most}" if least == most else f"{least} or {most}"
    together = ", computed together" if setup.stacks() else ""
    return f"{workers} worker processes, one thread each, {each} hosts per worker{together}"
