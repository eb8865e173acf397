"""K hosts in this process, batch-first: each batch is prepared once and drives all hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from esper_leyline import EnvironmentSpec, EvaluationReport, FactoredAction, StepReport
from esper_tolaria.checks import check_actions, check_seeds, check_state, environment_state
from esper_tolaria.datasets import Dataset
from esper_tolaria.devices import Lanes, one_thread
from esper_tolaria.episode import Episode
from esper_tolaria.feeds import build_feed
from esper_tolaria.setup import Setup
from esper_tolaria.stacked import StackedTrainer, join
from esper_tolaria.trainer import Trainer


class LocalEnvironment:
    """Leyline's ``Environment`` in one process on one device.

    A host's path depends on its own seed only: hosts share batches, whose order follows
    from the data and the epoch, and nothing else.

    Attributes:
        plan: How the work is laid out, in one line.
    """

    def __init__(self, setup: Setup, dataset: Dataset, device: torch.device) -> None:
        self._setup = setup
        self._feed = build_feed(
            dataset.train, setup.training, dataset.seed, setup.config.feed, device
        )
        self._validation, self._test = dataset.validation.to(device), dataset.test.to(device)
        self._device = device
        self._spec = setup.environment_spec(setup.count_host_parameters())
        self._lanes = Lanes(device, setup.config.n_envs)
        self._episodes: tuple[Episode, ...] = ()
        self._stacked: StackedTrainer | None = None
        self.plan = _describe(setup, device)

    @property
    def spec(self) -> EnvironmentSpec:
        """The fixed facts of this environment."""
        return self._spec

    def reset(self, seeds: Sequence[int]) -> tuple[StepReport, ...]:
        """Starts one episode a seed with fresh hosts.

        Raises:
            TolariaError: If there are no seeds, or more than environments.
        """
        check_seeds(seeds, self._spec.environments)
        return self.start(list(enumerate(seeds)))

    def start(self, members: Sequence[tuple[int, int]]) -> tuple[StepReport, ...]:
        """Starts one episode a member, given as the index to report and the host's seed."""
        with one_thread():
            self._episodes = tuple(
                Episode(self._setup, environment=index, seed=seed, device=self._device)
                for index, seed in members
            )
            trainers = [episode.trainer for episode in self._episodes]
            # Lanes are streams on CUDA, where hosts run side by side already.
            apart = self._device.type == "cuda"
            self._stacked = None if apart else join(trainers, self._setup.training)
        return tuple(episode.report for episode in self._episodes)

    def step(self, actions: Sequence[FactoredAction]) -> tuple[StepReport, ...]:
        """Carries out one action a host and trains each for one epoch.

        Raises:
            TolariaError: If there is not one action a host, or no episode was started.
        """
        check_actions(actions, len(self._episodes))
        running = [
            (lane, episode, action)
            for lane, (episode, action) in enumerate(zip(self._episodes, actions, strict=True))
            if episode.running
        ]
        if running:
            with one_thread():
                self._advance(running)
        return tuple(episode.report for episode in self._episodes)

    def evaluate(self) -> tuple[EvaluationReport, ...]:
        """Judges the hosts as they stand on the test split."""
        with one_thread():
            return tuple(episode.evaluate(self._test) for episode in self._episodes)

    def state_dict(self) -> dict[str, Any]:
        """Returns what an exact continuation at an episode boundary needs.

        Hosts follow from the seeds they are reset with and batches from data and epoch,
        so this is only what a later environment must agree on.
        """
        return environment_state(self._setup)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what ``state_dict`` returned.

        Raises:
            TolariaError: If it came from an environment that differs.
        """
        check_state(state, self._setup)

    def close(self) -> None:
        """Releases the hosts."""
        self._episodes, self._stacked = (), None

    def _advance(self, running: Sequence[tuple[int, Episode, FactoredAction]]) -> None:
        self._lanes.fork()
        for lane, episode, action in running:
            with self._lanes.lane(lane):
                episode.begin(action)
        started = perf_counter()
        hosts = [(lane, episode) for lane, episode, _ in running]
        targets = self._train(hosts, running[0][1].report.epoch + 1)
        share = (perf_counter() - started) / len(running)
        for lane, episode in hosts:
            with self._lanes.lane(lane):
                episode.validate(self._validation)
        for lane, episode in hosts:
            with self._lanes.lane(lane):
                episode.finish(targets, share)
        self._lanes.join()

    def _train(self, running: Sequence[tuple[int, Episode]], epoch: int) -> Tensor:
        """Trains for an epoch; returns the targets in the order in which they came."""
        stacked = self._stack_of([episode.trainer for _, episode in running])
        seen = []
        for number, (inputs, targets) in enumerate(self._feed.batches(epoch), start=1):
            self._lanes.share(inputs, targets)
            seen.append(targets)
            last = number == self._feed.count()
            if stacked is not None:
                stacked.train_batch(inputs, targets, last=last)
                continue
            for lane, episode in running:
                with self._lanes.lane(lane):
                    episode.train_batch(inputs, targets, last=last)
        told = torch.cat(seen)
        self._lanes.share(told)
        return told

    def _stack_of(self, trainers: Sequence[Trainer]) -> StackedTrainer | None:
        """Returns the stack of those that still run; it shrinks as episodes end early."""
        if self._stacked is not None and self._stacked.trainers != tuple(trainers):
            self._stacked = self._stacked.regroup(trainers)
        return self._stacked


def _describe(setup: Setup, device: torch.device) -> str:
    if device.type == "cuda":
        how = "one stream per host"
    else:
        how = "one thread, computed together" if setup.stacks() else "one thread"
    return f"in this process on {device}, {how}, hosts: {setup.config.n_envs}"
