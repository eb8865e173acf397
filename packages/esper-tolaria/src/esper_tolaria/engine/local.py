"""K hosts in one process. Each batch is prepared once and trains all hosts."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import torch
from torch import Tensor

from esper_leyline import (
    EnvironmentSpec,
    EvaluationReport,
    FactoredAction,
    HostPlacement,
    StepReport,
)
from esper_tolaria.datasets.feeds import build_feed
from esper_tolaria.datasets.splits import Dataset
from esper_tolaria.engine.checks import (
    check_actions,
    check_rng_seeds,
)
from esper_tolaria.engine.devices import StreamPool, one_thread
from esper_tolaria.engine.episode import Episode
from esper_tolaria.engine.setup import HostSetup
from esper_tolaria.engine.stacked import StackedTrainer, join
from esper_tolaria.engine.trainer import Trainer


class LocalEnvironment:
    """Leyline's ``Environment`` in one process on one device.

    A host's results depend on its own random seed only. Hosts share only the batches, whose
    order depends on the data and the epoch.

    Attributes:
        plan: How hosts are distributed, in one line.
        host_facts: What all fresh hosts have in common.

    Args:
        setup: What the hosts are built from.
        dataset: The data, on the CPU.
        device: Where the hosts train.
    """

    def __init__(self, setup: HostSetup, dataset: Dataset, device: torch.device) -> None:
        self._setup = setup
        self._feed = build_feed(
            dataset.train, setup.training, dataset.rng_seed, setup.config.feed, device
        )
        self._validation, self._test = dataset.validation.to(device), dataset.test.to(device)
        self._device = device
        self.host_facts = setup.find_host_facts()
        self._spec = setup.environment_spec(self.host_facts.parameters)
        self._streams = StreamPool(device, setup.config.n_envs)
        self._episodes: tuple[Episode, ...] = ()
        self._stacked: StackedTrainer | None = None
        self.plan = _describe(setup, device, stacked=self.host_facts.stacks)

    @property
    def spec(self) -> EnvironmentSpec:
        """What a policy is built for."""
        return self._spec

    @property
    def placements(self) -> tuple[HostPlacement, ...]:
        """Where each host computes: on this environment's device."""
        return (HostPlacement(device=str(self._device)),) * len(self._episodes)

    def reset(self, rng_seeds: Sequence[int]) -> tuple[StepReport, ...]:
        """Starts one episode with a fresh host per random seed.

        Raises:
            TolariaError: If there are no random seeds, or more than environments.
        """
        check_rng_seeds(rng_seeds, self._spec.environments)
        return self.start(list(enumerate(rng_seeds)))

    def start(self, members: Sequence[tuple[int, int]]) -> tuple[StepReport, ...]:
        """Starts one episode per member: the environment's index and the host's random seed."""
        with one_thread():
            self._episodes = tuple(
                Episode(self._setup, environment=index, rng_seed=seed, device=self._device)
                for index, seed in members
            )
            trainers = [episode.trainer for episode in self._episodes]
            # On CUDA each host has its own stream, and hosts run in parallel already.
            parallel = self._device.type == "cuda"
            self._stacked = None if parallel else join(trainers, self._setup.training)
        return tuple(episode.report for episode in self._episodes)

    def step(self, actions: Sequence[FactoredAction]) -> tuple[StepReport, ...]:
        """Applies one action per host and trains each host for one epoch.

        Raises:
            TolariaError: If there is not one action per host, or no episode was started.
        """
        check_actions(actions, len(self._episodes))
        running = [
            (index, episode, action)
            for index, (episode, action) in enumerate(zip(self._episodes, actions, strict=True))
            if episode.running
        ]
        if running:
            with one_thread():
                self._advance(running)
        return tuple(episode.report for episode in self._episodes)

    def evaluate(self) -> tuple[EvaluationReport, ...]:
        """Evaluates the hosts on the test split; losses in nats, accuracies in percent."""
        with one_thread():
            return tuple(episode.evaluate(self._test) for episode in self._episodes)

    def close(self) -> None:
        """Releases the hosts."""
        self._episodes, self._stacked = (), None

    def _advance(self, running: Sequence[tuple[int, Episode, FactoredAction]]) -> None:
        self._streams.begin()
        for index, episode, action in running:
            with self._streams.stream(index):
                episode.begin(action)
        started = perf_counter()
        hosts = [(index, episode) for index, episode, _ in running]
        targets = self._train(hosts, running[0][1].report.epoch + 1)
        share = (perf_counter() - started) / len(running)
        self._validate(hosts)
        for index, episode in hosts:
            with self._streams.stream(index):
                episode.finish(targets, share)
        self._streams.finish()

    def _train(self, running: Sequence[tuple[int, Episode]], epoch: int) -> Tensor:
        """Trains one epoch; returns the targets [N] or [N, T] in batch order."""
        stacked = self._stack_of([episode.trainer for _, episode in running])
        if stacked is not None:
            stacked.start_epoch()
        seen = []
        for number, (inputs, targets) in enumerate(self._feed.batches(epoch), start=1):
            self._streams.share(inputs, targets)
            seen.append(targets)
            last = number == self._feed.count()
            if stacked is not None:
                stacked.train_batch(inputs, targets, last=last)
                continue
            for index, episode in running:
                with self._streams.stream(index):
                    episode.train_batch(inputs, targets, last=last)
        ordered = torch.cat(seen)
        self._streams.share(ordered)
        return ordered

    def _validate(self, running: Sequence[tuple[int, Episode]]) -> None:
        requests = [episode.choose_counterfactuals() for _, episode in running]
        stacked = self._stack_of([episode.trainer for _, episode in running])
        if stacked is None:
            for (index, episode), request in zip(running, requests, strict=True):
                with self._streams.stream(index):
                    episode.validate(self._validation, request)
            return
        started = perf_counter()
        classes = self._setup.task.data.classes
        scores = stacked.validate(self._validation, requests, classes)
        share = (perf_counter() - started) / len(running)
        for (_, episode), found in zip(running, scores, strict=True):
            episode.take_scores(self._validation, found, share)

    def _stack_of(self, trainers: Sequence[Trainer]) -> StackedTrainer | None:
        """Returns the stack of the running hosts; it shrinks when an episode ends early."""
        if self._stacked is not None and self._stacked.trainers != tuple(trainers):
            self._stacked = self._stacked.regroup(trainers)
        return self._stacked


def _describe(setup: HostSetup, device: torch.device, *, stacked: bool) -> str:
    how = "one stream per host" if device.type == "cuda" else "one thread"
    number = setup.config.n_envs
    hosts = "1 host" if number == 1 else f"{number} hosts"
    together = " computed together" if stacked and number > 1 else ""
    return f"in this process on {device}, {how}, {hosts}{together}"
