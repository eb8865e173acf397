"""What is known of a run after some of its events: frozen, and of fixed size."""

from __future__ import annotations

from dataclasses import dataclass, field

from esper_karn.state.rounds import RoundHistory
from esper_karn.state.series import Series
from esper_leyline import AnyBlueprint, EpisodeEnd, RunStatus, SeedStage
from esper_leyline.events import PPOUpdate, RunStarted

NOTICES = 100
"""Notices of each sort that are kept, the latest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotState:
    """A slot of one host. Contribution in points of accuracy, ``None`` if not measured."""

    slot: str
    stage: SeedStage = SeedStage.DORMANT
    blueprint: AnyBlueprint | None = None
    alpha: float | None = None
    parameters: int = 0
    contribution: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentState:
    """One host: its present episode, and how its last one ended.

    Attributes:
        round: The round its latest event belongs to.
        ended: Why the present episode is over, ``None`` while it goes on.
        best_accuracy: Best validation accuracy of the present episode, in percent.
        germinated: Seeds germinated in the present round; likewise the next two.
        last_return: Return of the last episode that ended.
    """

    index: int
    round: int = 0
    epoch: int = 0
    ended: EpisodeEnd | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    best_accuracy: float | None = None
    host_parameters: int | None = None
    fossil_parameters: int = 0
    live_parameters: int = 0
    slots: tuple[SlotState, ...] = ()
    germinated: int = 0
    fossilized: int = 0
    pruned: int = 0
    last_return: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something worth a line: an anomaly, or a step in a seed's life."""

    wall_time: float
    kind: str
    text: str
    round: int | None = None
    environment: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSeries:
    """Scalars over rounds. Accuracies in percent, entropy 1 where choice is even."""

    mean_return: Series = field(default_factory=Series)
    accuracy: Series = field(default_factory=Series)
    best_accuracy: Series = field(default_factory=Series)
    grown_parameters: Series = field(default_factory=Series)
    entropy: Series = field(default_factory=Series)
    kl: Series = field(default_factory=Series)
    clip_fraction: Series = field(default_factory=Series)
    explained_variance: Series = field(default_factory=Series)
    policy_loss: Series = field(default_factory=Series)
    value_loss: Series = field(default_factory=Series)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a log was read, and its times; no clock of the reader's is ever asked.

    Attributes:
        sequence: Sequence number of the latest event; -1 before the first.
        missing: Events that the numbers say should have come before it and did not.
        first_wall: Unix time of the run's first event.
        last_wall: Unix time of its latest event.
        origin: Monotonic time at which the present process began its work.
        origin_rounds: Rounds done by then.
        now: Monotonic time of the latest event.
    """

    run_id: str | None = None
    boot: int = 0
    sequence: int = -1
    missing: int = 0
    first_wall: float | None = None
    last_wall: float | None = None
    origin: float = 0.0
    origin_rounds: float = 0.0
    now: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """The run as a whole.

    Attributes:
        started: What the run said of itself, its configuration included.
        status: ``RUNNING`` until an event says otherwise.
        rounds_done: Number of the last finished round.
    """

    started: RunStarted | None = None
    status: RunStatus = RunStatus.RUNNING
    error: str | None = None
    seconds: float | None = None
    checkpoint: str | None = None
    rounds_done: int = 0
    rounds: RoundHistory = field(default_factory=RoundHistory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """Bounded logs, oldest first; ``anomaly_count`` counts those that were let go, too."""

    anomalies: tuple[Notice, ...] = ()
    anomaly_count: int = 0
    lifecycle: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run as its events tell it, in parts that change together.

    Attributes:
        environments: One entry an environment seen, by index.
        update: The latest PPO update, and ``update_round`` the round that it ended.
        series: Scalars over rounds.
    """

    cursor: Cursor = field(default_factory=Cursor)
    facts: RunFacts = field(default_factory=RunFacts)
    environments: tuple[EnvironmentState, ...] = ()
    update: PPOUpdate | None = None
    update_round: int = 0
    series: RunSeries = field(default_factory=RunSeries)
    notices: Notices = field(default_factory=Notices)

    @property
    def run_id(self) -> str | None:
        """The run's id, ``None`` before the first event."""
        return self.cursor.run_id

    @property
    def status(self) -> RunStatus:
        """How the run stands."""
        return self.facts.status

    @property
    def ended(self) -> bool:
        """Whether the run said that it is over."""
        return self.facts.status is not RunStatus.RUNNING
