"""Tasks that others published, behind Leyline's ports: Simic and Tamiyo as they train Esper.

A task's observation travels in the report's ``history``, two numbers an entry; its answer is the
action's op (WAIT or ADVANCE) and, where it has several slots, the slot. Of Tamiyo's policy only
the features are replaced: masks, trunk, heads and critic are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from esper_leyline import (
    BASE_SIZE,
    HEADS,
    BlendStyle,
    Blueprint,
    EnvironmentSpec,
    EpisodeEnd,
    EvaluationReport,
    FactoredAction,
    HostPlacement,
    Observation,
    Op,
    PolicyConfig,
    RewardBreakdown,
    SeedReport,
    StepReport,
    Topology,
)
from esper_tamiyo import RecurrentPolicy

Pairs = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task says after a step."""

    seen: Pairs
    reward: float
    failed: bool = False


class Task(Protocol):
    """One episode at a time of a task."""

    def reset(self, seed: int) -> Pairs:
        """Starts an episode and returns the first observation."""

    def step(self, action: FactoredAction) -> Outcome:
        """Takes an answer."""


@dataclass
class ExternalEnvironment:
    """Tasks side by side.

    An episode that fails is over for good, as where Esper's governor ends one; the last step of
    its length is Esper's horizon.
    """

    make: Callable[[], Task]
    environments: int
    length: int
    slots: int = 1
    tasks: list[Task] = field(default_factory=list)
    reports: tuple[StepReport, ...] = ()

    @property
    def spec(self) -> EnvironmentSpec:
        return EnvironmentSpec(
            environments=self.environments,
            max_epochs=self.length,
            slots=tuple(f"r0c{index}" for index in range(self.slots)),
            topology=Topology.CNN,
            blueprints=(Blueprint.NORM,),
            styles=(BlendStyle.LINEAR_ADD,),
            host_parameters=1,
        )

    @property
    def placements(self) -> tuple[HostPlacement, ...]:
        return (HostPlacement(device="cpu"),) * len(self.reports)

    def reset(self, rng_seeds: Sequence[int]) -> tuple[StepReport, ...]:
        self.tasks = [self.make() for _ in rng_seeds]
        asked = tuple(SeedReport(slot=slot, permitted=(Op.ADVANCE,)) for slot in self.spec.slots)
        self.reports = tuple(
            StepReport(
                environment=index,
                rng_seed=rng_seed,
                epoch=0,
                max_epochs=self.length,
                seeds=asked,
                host_parameters=1,
                history=task.reset(rng_seed),
            )
            for index, (task, rng_seed) in enumerate(zip(self.tasks, rng_seeds, strict=True))
        )
        return self.reports

    def step(self, actions: Sequence[FactoredAction]) -> tuple[StepReport, ...]:
        self.reports = tuple(
            report if report.ended else self._after(report, task.step(action), action)
            for report, task, action in zip(self.reports, self.tasks, actions, strict=True)
        )
        return self.reports

    def _after(self, report: StepReport, outcome: Outcome, action: FactoredAction) -> StepReport:
        epoch = report.epoch + 1
        ended = EpisodeEnd.HORIZON if epoch == self.length else None
        return replace(
            report,
            epoch=epoch,
            history=outcome.seen,
            train_loss=outcome.reward,
            action=action,
            action_succeeded=True,
            ended=EpisodeEnd.GOVERNOR if outcome.failed else ended,
        )

    def evaluate(self) -> tuple[EvaluationReport, ...]:
        return ()

    def close(self) -> None:
        self.tasks = []


def task_reward(
    previous: StepReport, action: FactoredAction, current: StepReport
) -> RewardBreakdown:
    """Pays what the task said."""
    assert current.train_loss is not None
    return RewardBreakdown(components={"task": current.train_loss})


class ExternalPolicy(RecurrentPolicy):
    """Tamiyo's policy, seeing a task's numbers in place of a host's."""

    def encode(self, reports: Sequence[StepReport]) -> Observation:
        observation = super().encode(reports)
        features = torch.zeros_like(observation.features)
        numbers = torch.tensor([report.history for report in reports]).flatten(1)
        features[:, BASE_SIZE : BASE_SIZE + numbers.shape[1]] = numbers
        return replace(observation, features=features)


class MemorylessExternalPolicy(ExternalPolicy):
    """The same network without its memory: every step begins with a blank state."""

    def act(self, observation, state, *, generator, greedy=False):
        blank = self.initial_state(observation.features.shape[0])
        return super().act(observation, blank, generator=generator, greedy=greedy)

    def evaluate(self, observation, actions, state, starts):
        return super().evaluate(observation, actions, state, torch.ones_like(starts))


def external_policy(
    environment: ExternalEnvironment, size: int, seed: int, *, memory: bool = True
) -> ExternalPolicy:
    torch.manual_seed(seed)
    config = PolicyConfig(feature_size=size, memory_size=size, floors=dict.fromkeys(HEADS, 0.0))
    kind = ExternalPolicy if memory else MemorylessExternalPolicy
    return kind(environment.spec, config)


def greedy_returns(
    environment: ExternalEnvironment, policy: ExternalPolicy, seeds: Sequence[int]
) -> list[float]:
    """Plays one episode a seed, the most probable action at every step."""
    reports, state = environment.reset(seeds), policy.initial_state(len(seeds))
    earned = [0.0] * len(seeds)
    while any(report.ended is None for report in reports):
        before = reports
        decision = policy.act(
            policy.encode(reports), state, generator=torch.Generator(), greedy=True
        )
        actions = [FactoredAction.from_indices(row) for row in decision.actions.tolist()]
        reports, state = environment.step(actions), decision.state
        for index, (was, now) in enumerate(zip(before, reports, strict=True)):
            earned[index] += 0.0 if was.ended else now.train_loss
    return earned
