"""The state of a run after some of its events: frozen, and of fixed size."""

from __future__ import annotations

from dataclasses import dataclass, field

from esper_karn.state.episode import Episode
from esper_karn.state.run_report import RunReport
from esper_karn.state.series import Series
from esper_karn.state.stamped import Stamped
from esper_leyline import EvaluationReport, RunStatus
from esper_leyline.events import (
    Decision,
    EnvironmentBuilt,
    PPOUpdate,
    ProfileMeasured,
    RunPhase,
    RunStarted,
    Throughput,
    Vitals,
)

NOTICES = 100
"""Notices of each kind that are kept, the latest ones."""

DECISIONS = 200
"""Decisions that are kept, the latest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentState:
    """One environment and its hosts, one after another.

    Attributes:
        episode: The current episode, or the last one until the next begins.
        best_episode: The finished episode with the highest final validation accuracy.
        last_return: Return of the last episode that ended.
        test: The last evaluation on the test split.
        profile: The latest measurement of a telemetry profile.
    """

    index: int
    episode: Episode = field(default_factory=Episode)
    best_episode: Episode | None = None
    last_return: float | None = None
    test: EvaluationReport | None = None
    profile: Stamped[ProfileMeasured] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One line for people, for example on an anomaly or a lifecycle step of a seed."""

    wall_time: float
    kind: str
    text: str
    round: int | None = None
    environment: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSeries:
    """Scalars over rounds. Accuracies in percent; entropy 1 is a uniform choice."""

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
    host_epochs_per_second: Series = field(default_factory=Series)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a log was read, and its times; the reader's clock is never asked.

    Attributes:
        boot: Which of the processes that wrote the log wrote the latest event, from 0.
        sequence: Sequence number of the latest event; -1 before the first.
        missing: Events whose sequence numbers were skipped before it.
        coalesced: Samples that were not written, because later ones stand for them.
        first_wall: Unix time of the run's first event.
        last_wall: Unix time of its latest event.
        boot_start: Monotonic time at which the current process began its work.
        boot_rounds: Rounds done by then.
        monotonic: Monotonic time of the latest event.
    """

    run_id: str | None = None
    boot: int = 0
    sequence: int = -1
    missing: int = 0
    coalesced: int = 0
    first_wall: float | None = None
    last_wall: float | None = None
    boot_start: float = 0.0
    boot_rounds: float = 0.0
    monotonic: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """The latest notices of each kind, oldest first.

    Attributes:
        anomaly_count: Number of all anomalies, also of those dropped.
        lifecycle: Lifecycle steps of seeds.
        hosts: Changes of a host's accuracy or loss.
    """

    anomalies: tuple[Notice, ...] = ()
    anomaly_count: int = 0
    lifecycle: tuple[Notice, ...] = ()
    hosts: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run as its events describe it, in parts that change together.

    Attributes:
        started: The run's own description, with its configuration; ``None`` before it.
        phase: What the run is doing, ``None`` before its first phase.
        built: Slots and sizes, ``None`` before the environment is built.
        report: How the run stands, and its rounds.
        environments: One entry per environment seen, by index.
        update: The latest PPO update.
        decisions: The latest decisions of all environments, at most ``DECISIONS``.
        throughput: The latest speed of the run.
        vitals: The latest measurement of the machine.
        series: Scalars over rounds.
        notices: The latest anomalies, lifecycle steps and changes of hosts.
    """

    cursor: Cursor = field(default_factory=Cursor)
    started: RunStarted | None = None
    phase: Stamped[RunPhase] | None = None
    built: EnvironmentBuilt | None = None
    report: RunReport = field(default_factory=RunReport)
    environments: tuple[EnvironmentState, ...] = ()
    update: Stamped[PPOUpdate] | None = None
    decisions: tuple[Stamped[Decision], ...] = ()
    throughput: Stamped[Throughput] | None = None
    vitals: Stamped[Vitals] | None = None
    series: RunSeries = field(default_factory=RunSeries)
    notices: Notices = field(default_factory=Notices)

    @property
    def run_id(self) -> str | None:
        """The run's id, ``None`` before the first event."""
        return self.cursor.run_id

    @property
    def status(self) -> RunStatus:
        """Whether the run is running, or how it ended."""
        return self.report.status

    @property
    def ended(self) -> bool:
        """Whether the log says that the run is over."""
        return self.report.status is not RunStatus.RUNNING
