"""An episode and its environment that are being made: the reducer changes them in place."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from esper_karn.state.episode import (
    ACCURACY_CAPACITY,
    COMPONENTS,
    LIFELINES,
    SPANS,
    Episode,
    Lifeline,
    StageSpan,
)
from esper_karn.state.run import EnvironmentState
from esper_karn.state.series import Series, SeriesDraft
from esper_karn.state.stamped import Stamped
from esper_leyline import (
    LIVE_STAGES,
    OCCUPIED_STAGES,
    EpisodeEnd,
    EvaluationReport,
    SeedEvent,
    SeedEventKind,
    SeedReport,
    SeedStage,
)
from esper_leyline.events import (
    CounterfactualMatrix,
    EpisodeOutcome,
    EpisodeStarted,
)
from esper_leyline.profiles import HostProfile
from esper_leyline.reports import HostReport, ShapleyValues


class LifelineDraft:
    """A lifeline that is being made."""

    __slots__ = ("_alpha", "_frozen", "_slot", "_spans")

    def __init__(self, line: Lifeline) -> None:
        self._slot = line.slot
        self._spans = deque(line.spans, maxlen=SPANS)
        self._alpha: Series | SeriesDraft = line.alpha
        self._frozen: Lifeline | None = line

    def add_alpha(self, epoch: int, alpha: float, at: int) -> None:
        """Adds the alpha of an epoch."""
        self._frozen = None
        if isinstance(self._alpha, Series):
            self._alpha = SeriesDraft(self._alpha)
        self._alpha.add(epoch, alpha, at)

    def add_span(self, span: StageSpan) -> None:
        """Adds a stay in a stage, and drops the oldest one where there are many."""
        self._frozen = None
        self._spans.append(span)

    def freeze(self) -> Lifeline:
        """Returns the lifeline."""
        if self._frozen is None:
            alpha = self._alpha if isinstance(self._alpha, Series) else self._alpha.freeze()
            self._frozen = Lifeline(slot=self._slot, spans=tuple(self._spans), alpha=alpha)
        return self._frozen


@dataclass(slots=True, kw_only=True)
class EpisodeDraft:
    """An episode that is being made; its attributes are those of ``Episode``.

    Attributes:
        events: Lifecycle events that ``slots`` does not show yet.
        frozen: What it was frozen to last, ``None`` if it changed since.
    """

    round: int = 0
    started: EpisodeStarted | None = None
    epochs: int = 0
    ended: EpisodeEnd | None = None
    host: HostReport | None = None
    slots: tuple[SeedReport, ...] = ()
    best_accuracy: float | None = None
    accuracy: SeriesDraft = field(
        default_factory=lambda: SeriesDraft(Series(capacity=ACCURACY_CAPACITY))
    )
    lifelines: dict[str, LifelineDraft] = field(default_factory=dict)
    counterfactuals: Stamped[CounterfactualMatrix] | None = None
    shapley: Stamped[ShapleyValues] | None = None
    rewards: dict[str, float] = field(default_factory=dict)
    germinated: int = 0
    fossilized: int = 0
    pruned: int = 0
    events: list[SeedEvent] = field(default_factory=list)
    frozen: Episode | None = None

    @classmethod
    def of(cls, episode: Episode) -> EpisodeDraft:
        """Returns a draft that starts from an episode."""
        return cls(
            round=episode.round,
            started=episode.started,
            epochs=episode.epochs,
            ended=episode.ended,
            host=episode.host,
            slots=episode.slots,
            best_accuracy=episode.best_accuracy,
            accuracy=SeriesDraft(episode.accuracy),
            lifelines={line.slot: LifelineDraft(line) for line in episode.lifelines},
            counterfactuals=episode.counterfactuals,
            shapley=episode.shapley,
            rewards=dict(episode.rewards),
            germinated=episode.germinated,
            fossilized=episode.fossilized,
            pruned=episode.pruned,
            frozen=episode,
        )

    def freeze(self) -> Episode:
        """Returns the episode."""
        if self.frozen is None:
            self.frozen = self._made()
        return self.frozen

    def add_epoch(self, epoch: int, host: HostReport, at: int) -> None:
        """Takes one more epoch of training."""
        self.epochs, self.host, self.slots = epoch, host, host.seeds
        self.events.clear()
        accuracy = host.val_accuracy
        if accuracy is not None:
            self.accuracy.add(epoch, accuracy, at)
            best = self.best_accuracy
            if (best is None or accuracy > best) and math.isfinite(accuracy):
                self.best_accuracy = accuracy
        seeds = host.seeds[:LIFELINES]
        if [seed.slot for seed in seeds] != list(self.lifelines):
            self.lifelines = {seed.slot: self._lifeline(seed.slot) for seed in seeds}
        for seed in seeds:
            if seed.stage in LIVE_STAGES:
                self.lifelines[seed.slot].add_alpha(epoch, seed.alpha, at)

    def add_outcome(self, epochs: int, outcome: EpisodeOutcome) -> None:
        """Takes the end of the episode."""
        self.epochs, self.ended, self.host = epochs, outcome.ended, outcome.host
        self.slots = outcome.host.seeds
        self.events.clear()
        self.best_accuracy = outcome.best_val_accuracy
        self.rewards = {}
        self.add_rewards(outcome.reward_components)
        self.germinated = outcome.germinated
        self.fossilized = outcome.fossilized
        self.pruned = outcome.pruned

    def add_rewards(self, components: Mapping[str, float]) -> None:
        """Takes what a decision earned, by component."""
        rewards = self.rewards
        for name, value in components.items():
            if name in rewards:
                rewards[name] += value
            elif len(rewards) < COMPONENTS:
                rewards[name] = value

    def add_event(self, epoch: int, event: SeedEvent) -> None:
        """Takes a lifecycle event of a seed."""
        self.events.append(event)
        kind = event.kind
        if kind is SeedEventKind.STAGE_CHANGED:
            self._add_span(epoch, event)
        elif kind is SeedEventKind.GERMINATED:
            self.germinated += 1
        elif kind is SeedEventKind.FOSSILIZED:
            self.fossilized += 1
        elif kind is SeedEventKind.PRUNED:
            self.pruned += 1

    def settled_slots(self) -> tuple[SeedReport, ...]:
        """Returns the slots as the latest lifecycle events left them."""
        if self.events:
            slots = {slot.slot: slot for slot in self.slots}
            for event in self.events:
                old = slots.get(event.slot) or SeedReport(slot=event.slot)
                slots[event.slot] = _slot_after(old, event)
            self.slots = tuple(slots.values())[:LIFELINES]
            self.events.clear()
        return self.slots

    def _made(self) -> Episode:
        return Episode(
            round=self.round,
            started=self.started,
            epochs=self.epochs,
            ended=self.ended,
            host=self.host,
            slots=self.settled_slots(),
            best_accuracy=self.best_accuracy,
            accuracy=self.accuracy.freeze(),
            lifelines=tuple(line.freeze() for line in self.lifelines.values()),
            counterfactuals=self.counterfactuals,
            shapley=self.shapley,
            rewards=dict(self.rewards),
            germinated=self.germinated,
            fossilized=self.fossilized,
            pruned=self.pruned,
        )

    def _lifeline(self, slot: str) -> LifelineDraft:
        return self.lifelines.get(slot) or LifelineDraft(Lifeline(slot=slot))

    def _add_span(self, epoch: int, event: SeedEvent) -> None:
        occupied = event.target in OCCUPIED_STAGES
        span = StageSpan(
            stage=event.target,
            start=epoch,
            blueprint=event.blueprint if occupied else None,
            contribution=event.contribution if occupied else None,
        )
        if event.slot in self.lifelines or len(self.lifelines) < LIFELINES:
            line = self.lifelines[event.slot] = self._lifeline(event.slot)
            line.add_span(span)


@dataclass(slots=True, kw_only=True)
class EnvironmentDraft:
    """An environment that is being made; its attributes are those of ``EnvironmentState``."""

    index: int
    at: int
    monotonic: float
    episode: EpisodeDraft
    best_episode: Episode | None
    last_return: float | None
    profile: Stamped[HostProfile] | None
    test: EvaluationReport | None
    test_round: int | None
    frozen: EnvironmentState | None

    @classmethod
    def of(cls, environment: EnvironmentState) -> EnvironmentDraft:
        """Returns a draft that starts from an environment."""
        return cls(
            index=environment.index,
            at=environment.at,
            monotonic=environment.monotonic,
            episode=EpisodeDraft.of(environment.episode),
            best_episode=environment.best_episode,
            last_return=environment.last_return,
            profile=environment.profile,
            test=environment.test,
            test_round=environment.test_round,
            frozen=environment,
        )

    def touch(self, at: int, monotonic: float) -> None:
        """Notes that an event changed it."""
        self.at, self.monotonic, self.frozen = at, monotonic, None

    def freeze(self) -> EnvironmentState:
        """Returns the environment."""
        if self.frozen is None:
            self.frozen = EnvironmentState(
                index=self.index,
                at=self.at,
                monotonic=self.monotonic,
                episode=self.episode.freeze(),
                best_episode=self.best_episode,
                last_return=self.last_return,
                profile=self.profile,
                test=self.test,
                test_round=self.test_round,
            )
        return self.frozen


def slots_of(episode: Episode | EpisodeDraft) -> tuple[SeedReport, ...]:
    """Returns the slots of an episode as the latest lifecycle events left them."""
    return episode.slots if isinstance(episode, Episode) else episode.settled_slots()


def _slot_after(old: SeedReport, event: SeedEvent) -> SeedReport:
    if event.kind is SeedEventKind.GATE_EVALUATED:
        return replace(old, gate=event.gate)
    if event.kind is SeedEventKind.STAGE_CHANGED:
        if event.target is SeedStage.DORMANT:
            return SeedReport(slot=old.slot)
        return replace(old, stage=event.target, alpha=event.alpha, age=event.age)
    return SeedReport(
        slot=event.slot,
        stage=event.target,
        blueprint=event.blueprint,
        alpha=event.alpha,
        age=event.age,
        parameters=event.parameters,
        contribution=event.contribution,
    )
