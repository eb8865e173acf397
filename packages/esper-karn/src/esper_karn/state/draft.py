"""A state that is being made: the reducer's cases change it, and nothing else sees it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import overload

from esper_karn.state.decisions import DECISIONS, DecisionRecord, record_decision
from esper_karn.state.episode_draft import EnvironmentDraft
from esper_karn.state.health import Verdict, judge
from esper_karn.state.notices import NoticesDraft
from esper_karn.state.run import (
    ENVIRONMENTS,
    SERIES,
    Cursor,
    Decisions,
    EnvironmentState,
    Leaderboard,
    PhaseStart,
    RewardSums,
    RunState,
    Workers,
)
from esper_karn.state.run_report import RunReport
from esper_karn.state.series import CAPACITY, Series, SeriesDraft
from esper_karn.state.stamped import Stamped
from esper_leyline.events import (
    EnvironmentBuilt,
    Event,
    PPOUpdate,
    RunStarted,
    Throughput,
    Vitals,
)
from esper_leyline.health import Gauge, SpeedHistory


@dataclass(slots=True, kw_only=True)
class Draft:
    """The parts of a ``RunState``, of which those that change often are held in a mutable form.

    Attributes:
        decisions: Those that were never in a state are events still, because most are dropped.
        environments: By index; those that no event changed yet are frozen.
        series: By name; those that no event changed yet are frozen.
    """

    cursor: Cursor
    sequence: int
    monotonic: float
    last_wall: float | None
    coalesced: int
    missing: int
    started: RunStarted | None
    phases: tuple[PhaseStart, ...]
    built: EnvironmentBuilt | None
    report: RunReport
    report_at: int
    environments: dict[int, EnvironmentState | EnvironmentDraft]
    update: Stamped[PPOUpdate] | None
    update_at: int
    decisions: deque[DecisionRecord | Event]
    decisions_at: int
    throughput: Stamped[Throughput] | None
    speeds: SpeedHistory
    vitals: Stamped[Vitals] | None
    series: dict[str, Series | SeriesDraft]
    leaderboard: Leaderboard
    rewards: RewardSums
    workers: Workers
    verdicts: dict[str, Verdict]
    notices: NoticesDraft

    @classmethod
    def of(cls, state: RunState) -> Draft:
        """Returns a draft that starts from a state."""
        cursor = state.cursor
        return cls(
            cursor=cursor,
            sequence=cursor.sequence,
            monotonic=cursor.monotonic,
            last_wall=cursor.last_wall,
            coalesced=cursor.coalesced,
            missing=cursor.missing,
            started=state.started,
            phases=state.phases,
            built=state.built,
            report=state.report,
            report_at=state.report_at,
            environments={each.index: each for each in state.environments},
            update=state.update,
            update_at=state.update_at,
            decisions=deque(state.decisions.records, maxlen=DECISIONS),
            decisions_at=state.decisions.at,
            throughput=state.throughput,
            speeds=state.speeds,
            vitals=state.vitals,
            series=dict(state.series),
            leaderboard=state.leaderboard,
            rewards=state.rewards,
            workers=state.workers,
            verdicts=dict(state.verdicts),
            notices=NoticesDraft(state.notices),
        )

    def freeze(self) -> RunState:
        """Returns the state; the draft may be changed further."""
        return RunState(
            cursor=self._cursor(),
            started=self.started,
            phases=self.phases,
            built=self.built,
            report=self.report,
            report_at=self.report_at,
            environments=tuple(
                _frozen(self.environments[index]) for index in sorted(self.environments)
            ),
            update=self.update,
            update_at=self.update_at,
            decisions=Decisions(at=self.decisions_at, records=self._settled_decisions()),
            throughput=self.throughput,
            speeds=self.speeds,
            vitals=self.vitals,
            series={name: _frozen(each) for name, each in self.series.items()},
            leaderboard=self.leaderboard,
            rewards=self.rewards,
            workers=self.workers,
            verdicts=dict(self.verdicts),
            notices=self.notices.freeze(),
        )

    def add_sample(
        self, name: str, position: int, value: float | None, *, capacity: int = CAPACITY
    ) -> None:
        """Adds a sample to a series, which is made if there is room for one more."""
        if value is None:
            return
        series = self.series.get(name)
        if series is None:
            if len(self.series) >= SERIES:
                return
            series = Series(capacity=capacity)
        if isinstance(series, Series):
            series = self.series[name] = SeriesDraft(series)
        series.add(position, value, self.sequence)

    def find_series(self, name: str) -> Series | None:
        """Returns a series as it is now, ``None`` if it has no sample."""
        found = self.series.get(name)
        return None if found is None else _frozen(found)

    def environment(self, index: int) -> EnvironmentDraft:
        """Returns an environment to change; a new one if it was not seen before."""
        found = self.environments.get(index)
        if isinstance(found, EnvironmentDraft):
            return found
        draft = EnvironmentDraft.of(found or EnvironmentState(index=index))
        self.environments[index] = draft
        return draft

    def judge(self, name: str, value: float | None, where: str = "") -> None:
        """Compares a value with the thresholds of a check."""
        verdict = judge(name, self.verdicts.get(name), value, self.sequence, where)
        if verdict is not None:
            self.verdicts[name] = verdict

    def has_room_for(self, environment: int) -> bool:
        """Whether an environment is followed; those that a run cannot have are not."""
        return environment in self.environments or len(self.environments) < ENVIRONMENTS

    def start_boot(self, event: Event, rounds: float) -> None:
        """Notes that another process writes the log from this event on.

        It may run on another machine, so its checks start again.
        """
        self.verdicts = {name: Verdict(at=event.sequence, gauge=Gauge()) for name in self.verdicts}
        self.speeds = SpeedHistory()
        old = self.cursor
        self.cursor = Cursor(
            run_id=old.run_id if event.run_id is None else event.run_id,
            boot=event.boot,
            first_wall=event.wall_time if old.first_wall is None else old.first_wall,
            boot_start=event.monotonic,
            boot_rounds=rounds,
            earlier_boots=old.earlier_boots + (self.monotonic if self.sequence >= 0 else 0.0),
        )

    def _settled_decisions(self) -> tuple[DecisionRecord, ...]:
        records = tuple(
            record_decision(each) if isinstance(each, Event) else each for each in self.decisions
        )
        self.decisions = deque(records, maxlen=DECISIONS)
        return records

    def _cursor(self) -> Cursor:
        old = self.cursor
        return Cursor(
            run_id=old.run_id,
            boot=old.boot,
            sequence=self.sequence,
            missing=self.missing,
            coalesced=self.coalesced,
            first_wall=old.first_wall,
            last_wall=self.last_wall,
            boot_start=old.boot_start,
            boot_rounds=old.boot_rounds,
            earlier_boots=old.earlier_boots,
            monotonic=self.monotonic,
        )


@overload
def _frozen(part: Series | SeriesDraft) -> Series: ...
@overload
def _frozen(part: EnvironmentState | EnvironmentDraft) -> EnvironmentState: ...
def _frozen(
    part: Series | SeriesDraft | EnvironmentState | EnvironmentDraft,
) -> Series | EnvironmentState:
    return part.freeze() if isinstance(part, SeriesDraft | EnvironmentDraft) else part
