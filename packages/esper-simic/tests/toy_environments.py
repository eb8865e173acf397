"""Small environments behind the real ports, in which the right answer is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from esper_leyline import (
    BlendStyle,
    Blueprint,
    EnvironmentSpec,
    EpisodeEnd,
    EvaluationReport,
    FactoredAction,
    HostPlacement,
    Op,
    PolicyConfig,
    RewardBreakdown,
    SeedReport,
    StepReport,
    Topology,
)
from esper_tamiyo import RecurrentPolicy

SLOTS = ("r0c0", "r0c1")


@dataclass
class PuzzleEnvironment:
    """Hosts that show a cue once and later ask for a decision.

    The cue, 0 or 1, is the parity of a host's seed; the first report alone shows it, as
    a high or a low accuracy. GERMINATE is open, on both slots, in the last ``open_steps``
    steps. ``fail_at`` makes the governor end the episode of some hosts early.
    """

    environments: int = 8
    length: int = 4
    open_steps: int = 1
    fail_at: Mapping[int, int] = field(default_factory=dict)
    reports: tuple[StepReport, ...] = ()
    steps_taken: int = 0

    @property
    def spec(self) -> EnvironmentSpec:
        return EnvironmentSpec(
            environments=self.environments,
            max_epochs=self.length,
            slots=SLOTS,
            topology=Topology.CNN,
            blueprints=(Blueprint.NORM,),
            styles=(BlendStyle.LINEAR_ADD,),
            host_parameters=100,
        )

    @property
    def placements(self) -> tuple[HostPlacement, ...]:
        return (HostPlacement(device="cpu"),) * len(self.reports)

    def reset(self, rng_seeds: Sequence[int]) -> tuple[StepReport, ...]:
        self.reports = tuple(
            self._open(
                StepReport(
                    environment=index,
                    rng_seed=rng_seed,
                    epoch=0,
                    max_epochs=self.length,
                    seeds=(),
                    host_parameters=100,
                    val_loss=1.0,
                    val_accuracy=90.0 if rng_seed % 2 else 10.0,
                    history=((1.0, 90.0 if rng_seed % 2 else 10.0),) * 5,
                )
            )
            for index, rng_seed in enumerate(rng_seeds)
        )
        return self.reports

    def step(self, actions: Sequence[FactoredAction]) -> tuple[StepReport, ...]:
        self.steps_taken += 1
        self.reports = tuple(
            report if report.ended else self._after(report, action)
            for report, action in zip(self.reports, actions, strict=True)
        )
        return self.reports

    def _after(self, report: StepReport, action: FactoredAction) -> StepReport:
        epoch = report.epoch + 1
        ended = EpisodeEnd.HORIZON if epoch == self.length else None
        if self.fail_at.get(report.environment) == epoch:
            ended = EpisodeEnd.GOVERNOR
        return self._open(
            replace(
                report,
                epoch=epoch,
                val_accuracy=50.0,
                history=((1.0, 50.0),) * 5,
                action=action,
                action_succeeded=True,
                ended=ended,
                seconds={"train": 0.0},
            )
        )

    def _open(self, report: StepReport) -> StepReport:
        asks = report.epoch >= self.length - self.open_steps and report.ended is None
        permitted = (Op.GERMINATE,) if asks else ()
        seeds = tuple(SeedReport(slot=slot, permitted=permitted) for slot in SLOTS)
        return replace(report, seeds=seeds)

    def evaluate(self) -> tuple[EvaluationReport, ...]:
        return ()

    def close(self) -> None:
        self.reports = ()


def recall_reward(
    previous: StepReport, action: FactoredAction, current: StepReport
) -> RewardBreakdown:
    """1 for germinating in the slot that the cue named, 0 otherwise: at best 1 an episode."""
    right = action.op is Op.GERMINATE and action.slot == previous.rng_seed % 2
    return RewardBreakdown(components={"recall": float(right)})


def bandit_reward(
    previous: StepReport, action: FactoredAction, current: StepReport
) -> RewardBreakdown:
    """1 for GERMINATE, 0 for WAIT."""
    return RewardBreakdown(components={"bandit": float(action.op is Op.GERMINATE)})


def small_policy(
    environment: PuzzleEnvironment, *, size: int = 16, seed: int = 0, floor: float = 0.0
) -> RecurrentPolicy:
    torch.manual_seed(seed)
    floors = dict.fromkeys(PolicyConfig().floors, floor)
    config = PolicyConfig(feature_size=size, memory_size=size, floors=floors)
    return RecurrentPolicy(environment.spec, config)


class ForgetfulPolicy(RecurrentPolicy):
    """The same network without its memory: every step begins with a blank state."""

    def act(self, observation, state, *, generator, greedy=False):
        blank = self.initial_state(observation.features.shape[0])
        return super().act(observation, blank, generator=generator, greedy=greedy)

    def evaluate(self, observation, actions, state, starts):
        return super().evaluate(observation, actions, state, torch.ones_like(starts))


@dataclass(frozen=True)
class Emitted:
    """A payload and what was said of it."""

    payload: Any
    round: int | None
    epoch: int | None
    environment: int | None

    @property
    def kind(self) -> str:
        return self.payload.kind


class RecordedTelemetry:
    """Keeps what is emitted."""

    def __init__(self) -> None:
        self.events: list[Emitted] = []

    def emit(self, payload, *, round=None, epoch=None, environment=None) -> None:
        self.events.append(Emitted(payload, round, epoch, environment))

    def events_of(self, kind: str, environment: int | None = None) -> list[Emitted]:
        """Returns what was emitted of a kind, by one environment or by all."""
        return [
            event
            for event in self.events
            if event.kind == kind and environment in (None, event.environment)
        ]

    def of(self, kind: str, environment: int | None = None) -> list[Any]:
        """Returns the payloads alone."""
        return [event.payload for event in self.events_of(kind, environment)]
