"""The state of a run after some of its events: frozen, and of fixed size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from esper_karn.state.decisions import DecisionRecord
from esper_karn.state.episode import Episode
from esper_karn.state.health import Verdict
from esper_karn.state.leaderboard import RankedEpisode
from esper_karn.state.run_report import RunReport
from esper_karn.state.series import Series
from esper_karn.state.stamped import Stamped
from esper_leyline import EvaluationReport, RunStatus
from esper_leyline.events import (
    EnvironmentBuilt,
    Phase,
    PPOUpdate,
    RunStarted,
    Throughput,
    Vitals,
    WorkerRestarted,
)
from esper_leyline.health import SpeedHistory
from esper_leyline.profiles import HostProfile
from esper_leyline.wire import WIRE_CONFIG, Float

NOTICES = 100
"""Notices of each kind that are kept, the latest ones."""

ENVIRONMENTS = 1024
"""Environments that are followed; a run has no more."""

PHASES = 12
"""Phases that are kept, the latest ones; the start of a process has at most six."""

SERIES = 96
"""Series that are kept; a run of the built-in policy has about 70."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentState:
    """One environment and its hosts, one after another.

    Attributes:
        at: Sequence number of the event that changed it last.
        monotonic: Time of that event since its process began.
        episode: The current episode, or the last one until the next begins.
        best_episode: The finished episode with the highest final validation accuracy.
        last_return: Return of the last episode that ended.
        profile: The latest measured profile of its hosts.
        test: The last evaluation on the test split.
        test_round: The round of that host.
    """

    index: int
    at: int = -1
    monotonic: Float = 0.0
    episode: Episode = field(default_factory=Episode)
    best_episode: Episode | None = None
    last_return: Float | None = None
    profile: Stamped[HostProfile] | None = None
    test: EvaluationReport | None = None
    test_round: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One line for people, for example on an anomaly or a lifecycle step of a seed."""

    sequence: int
    wall_time: Float
    kind: str
    text: str
    round: int | None = None
    epoch: int | None = None
    environment: int | None = None


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
        earlier_boots: Seconds that the processes before the current one worked.
        monotonic: Monotonic time of the latest event.
    """

    run_id: str | None = None
    boot: int = 0
    sequence: int = -1
    missing: int = 0
    coalesced: int = 0
    first_wall: Float | None = None
    last_wall: Float | None = None
    boot_start: Float = 0.0
    boot_rounds: Float = 0.0
    earlier_boots: Float = 0.0
    monotonic: Float = 0.0

    @property
    def worked(self) -> float:
        """Seconds that all processes of the run have worked, without the breaks between."""
        return self.earlier_boots + self.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """The latest notices of each kind, oldest first.

    Attributes:
        at: Sequence number of the event that changed them last.
        anomaly_count: Number of all anomalies, also of those dropped.
        lifecycle: Lifecycle steps of seeds.
        hosts: Changes of a host's accuracy or loss.
        run: Steps of the run itself, such as checkpoints and resumes.
    """

    at: int = -1
    anomalies: tuple[Notice, ...] = ()
    anomaly_count: int = 0
    lifecycle: tuple[Notice, ...] = ()
    hosts: tuple[Notice, ...] = ()
    run: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """The latest decisions of all environments, oldest first.

    Attributes:
        at: Sequence number of the event that changed them last.
    """

    at: int = -1
    records: tuple[DecisionRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """The best episodes, the best first.

    Attributes:
        at: Sequence number of the event that changed it last.
    """

    at: int = -1
    episodes: tuple[RankedEpisode, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSums:
    """What the episodes of one round earned.

    Attributes:
        at: Sequence number of the event that changed them last.
        episodes: Episodes that ended.
        components: Sum over these episodes, by component.
    """

    at: int = -1
    round: int = 0
    episodes: int = 0
    components: Mapping[str, Float] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """Returns the mean of each component over the episodes."""
        return {name: total / self.episodes for name, total in self.components.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Worker processes that died and were started again.

    Attributes:
        at: Sequence number of the event that changed it last.
        restarts: How often.
        latest: The latest restart.
    """

    at: int = -1
    restarts: int = 0
    latest: WorkerRestarted | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStart:
    """The run entered a phase.

    Attributes:
        sequence: Sequence number of its event.
        boot: Which of the processes that wrote the log entered it.
        monotonic: When, in seconds since that process began.
        detail: What exactly is done, for people.
    """

    sequence: int
    boot: int
    monotonic: Float
    phase: Phase
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run as its events describe it, in parts that change together.

    Attributes:
        started: The run's own description, with its configuration; ``None`` before it.
        phases: The latest phases of the run, the current one last.
        built: Slots and sizes, ``None`` before the environment is built.
        report: How the run stands, and its rounds.
        report_at: Sequence number of the event that changed ``started``, ``built`` or ``report``.
        environments: One entry per environment seen, by index.
        update: The latest PPO update.
        update_at: Sequence number of the event that changed ``update``.
        decisions: The latest decisions of all environments.
        throughput: The latest speed of the run.
        vitals: The latest measurement of the machine.
        series: Scalars over rounds by name, such as ``entropy`` and ``entropy/op``; accuracies
            in percent, entropy 1 is a uniform choice. Those of ``machine/`` are over seconds.
        leaderboard: The best episodes.
        rewards: Reward components of the latest round in which an episode ended.
        workers: Restarts of worker processes.
        verdicts: How each check stands, by name.
        notices: The latest anomalies, lifecycle steps and changes of hosts.
    """

    __pydantic_config__ = WIRE_CONFIG

    cursor: Cursor = field(default_factory=Cursor)
    started: RunStarted | None = None
    phases: tuple[PhaseStart, ...] = ()
    built: EnvironmentBuilt | None = None
    report: RunReport = field(default_factory=RunReport)
    report_at: int = -1
    environments: tuple[EnvironmentState, ...] = ()
    update: Stamped[PPOUpdate] | None = None
    update_at: int = -1
    decisions: Decisions = field(default_factory=Decisions)
    throughput: Stamped[Throughput] | None = None
    speeds: SpeedHistory = field(default_factory=SpeedHistory)
    vitals: Stamped[Vitals] | None = None
    series: Mapping[str, Series] = field(default_factory=dict)
    leaderboard: Leaderboard = field(default_factory=Leaderboard)
    rewards: RewardSums = field(default_factory=RewardSums)
    workers: Workers = field(default_factory=Workers)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    notices: Notices = field(default_factory=Notices)

    @property
    def run_id(self) -> str | None:
        """The run's id, ``None`` before the first event."""
        return self.cursor.run_id

    @property
    def phase(self) -> PhaseStart | None:
        """What the run is doing, ``None`` before its first phase."""
        return self.phases[-1] if self.phases else None

    @property
    def status(self) -> RunStatus:
        """Whether the run is running, or how it ended."""
        return self.report.status

    @property
    def ended(self) -> bool:
        """Whether the log says that the run is over."""
        return self.report.status is not RunStatus.RUNNING
