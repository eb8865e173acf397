"""What Sanctum shows: the latest panels and series of a run, put together from frames."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from esper_karn.tui.source import Answer, LogPage
from esper_karn.views.condition import Condition
from esper_karn.views.decisions import DecisionsView
from esper_karn.views.frame import HOST, HOST_DECISIONS, Frame, Point
from esper_karn.views.host import HostView
from esper_karn.views.hosts import Hosts, LeaderboardView
from esper_karn.views.log import Log
from esper_karn.views.moment import Moment
from esper_karn.views.policy import Policy, Rewards
from esper_karn.views.summary import Header, Health, Machine, PhaseView

FILTERED_LOG = "filtered log"
"""In ``changed`` for the log with the filter of the latest request."""

PanelT = TypeVar("PanelT")


class Shown:
    """The run as it is shown.

    Attributes:
        run: Its directory; ``None`` without a run.
        stream: Of all that is known.
        known: By view, the last event that is known.
        condition: How the run stands.
        log: Lines of the log, with the filter of the latest request.
        share: Share of the log that was read.
        latest: The last event that was read.
        ended: Whether the log has the run's end.
        problem: Why the run cannot be read.
        at: The event to show the run at; ``None`` for the latest.
        changed: The panels and views that the latest answer changed.
    """

    def __init__(self) -> None:
        self.run: Path | None = None
        self.stream: str | None = None
        self.known: dict[str, int] = {}
        self.condition: Condition | None = None
        self.log: LogPage | None = None
        self.share = 1.0
        self.latest = -1
        self.ended = False
        self.problem: str | None = None
        self.at: int | None = None
        self.changed: set[str] = set()
        self._panels: dict[str, object] = {}
        self._series: dict[str, tuple[Point, ...]] = {}

    def take(self, answer: Answer) -> bool:
        """Takes an answer; returns whether anything that is shown changed."""
        before = (self.run, self.condition, self.log, self.share, self.problem, self.latest)
        self.changed = set()
        self.run, self.share, self.problem = answer.run, answer.share, answer.problem
        if answer.problem is None:
            self.condition, self.latest, self.ended = answer.condition, answer.latest, answer.ended
            if answer.log is not None and answer.log != self.log:
                self.log = answer.log
                self.changed.add(FILTERED_LOG)
        for view, frame in answer.frames.items():
            self._apply(view, frame)
        after = (self.run, self.condition, self.log, self.share, self.problem, self.latest)
        return bool(self.changed) or before != after

    def history(self, name: str) -> list[float | None]:
        """Returns the means of a series, the oldest first."""
        return [point.mean for point in self._series.get(name, ())]

    @property
    def moment(self) -> Moment | None:
        """The moment that is shown."""
        return self._panel("moment", Moment)

    @property
    def header(self) -> Header | None:
        """What the run is, and how far."""
        return self._panel("header", Header)

    @property
    def phase(self) -> PhaseView | None:
        """What the run is doing."""
        return self._panel("phase", PhaseView)

    @property
    def health(self) -> Health | None:
        """Every check that was made."""
        return self._panel("health", Health)

    @property
    def machine(self) -> Machine | None:
        """The machine, and the speed of hosts."""
        return self._panel("machine", Machine)

    @property
    def notices(self) -> Log | None:
        """The log without a filter."""
        return self._panel("log", Log)

    @property
    def hosts(self) -> Hosts | None:
        """All hosts."""
        return self._panel("hosts", Hosts)

    @property
    def leaderboard(self) -> LeaderboardView | None:
        """The best episodes."""
        return self._panel("leaderboard", LeaderboardView)

    @property
    def policy(self) -> Policy | None:
        """The latest update of the policy."""
        return self._panel("policy", Policy)

    @property
    def rewards(self) -> Rewards | None:
        """The reward by component."""
        return self._panel("rewards", Rewards)

    @property
    def decisions(self) -> DecisionsView | None:
        """The latest decisions."""
        return self._panel("decisions", DecisionsView)

    def host(self, environment: int) -> HostView | None:
        """Returns one host in full, ``None`` before it starts."""
        return self._panel(f"{HOST}{environment}", HostView)

    def host_decisions(self, environment: int) -> DecisionsView | None:
        """Returns the latest decisions about one host."""
        return self._panel(f"{HOST_DECISIONS}{environment}", DecisionsView)

    def _apply(self, view: str, frame: Frame) -> None:
        if frame.stream != self.stream:
            self.stream = frame.stream
            self.known, self._panels, self._series = {}, {}, {}
        known = self.known.get(view)
        for name, panel in frame.panels.items():
            if self._panels.get(name) != panel.value:
                self._panels[name] = panel.value
                self.changed.add(name)
        for name, tail in frame.series.items():
            self._series[name] = (*self._series.get(name, ())[: tail.start], *tail.buckets)
        if known != frame.to_sequence or frame.series:
            self.changed.add(view)
        self.known[view] = frame.to_sequence

    def _panel(self, name: str, kind: type[PanelT]) -> PanelT | None:
        found = self._panels.get(name)
        return found if isinstance(found, kind) else None
