"""Runs that browsers look at: a log is read when a browser asks, and its state is kept."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from esper_karn.comparison.comparison import RunComparison, compare
from esper_karn.comparison.facts import RunFacts
from esper_karn.errors import KarnError
from esper_karn.runs.facts import FactsReader
from esper_karn.runs.folder import resolve_log
from esper_karn.runs.frames import condition_of, frame_of
from esper_karn.runs.log_history import LogHistory
from esper_karn.snapshots.run_reader import RunReader
from esper_karn.state.run import RunState
from esper_karn.views.frame import HOST, VIEWS, Frame
from esper_karn.views.log import LogLine
from esper_karn.web.requests import FrameRequest, LogRequest
from esper_leyline.run_lock import probe_lock
from esper_leyline.wire import WIRE_CONFIG

OPEN_RUNS = 10
"""Runs whose states are kept; the one that was asked for longest ago is closed first."""

SLICE = 0.2
"""Seconds for which a log is read at a time: a long one comes in parts."""

PROGRESS = 1.0
"""Seconds between two frames of a long log that is being opened.

A frame of a view costs as much as reading a thousand events, so one a slice would slow it down.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OlderLines:
    """Lines of the log.

    Attributes:
        lines: The oldest first.
        older: Number of the lines before them.
        read: Share of the log that was read; below 1 the lines are still to come.
    """

    __pydantic_config__ = WIRE_CONFIG

    lines: tuple[LogLine, ...] = ()
    older: int = 0
    read: float = 1.0


class OpenRun:
    """One run, read as far as its log goes. May be used by several threads.

    Args:
        directory: The run's directory.
        snapshots: Folder of the snapshots of all runs; ``None`` to keep none.

    Raises:
        KarnError: If it is no run directory, or its log cannot be read; so do the methods.
    """

    def __init__(self, directory: Path, snapshots: Path | None) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        self._reader = RunReader(resolve_log(directory), snapshots)
        self._state = RunState()
        self._history_lock = threading.Lock()
        self._history: LogHistory | None = None
        self._facts_lock = threading.Lock()
        self._facts = FactsReader(directory)

    def close(self) -> None:
        """Closes the log."""
        with self._lock:
            self._reader.close()
        with self._history_lock:
            if self._history is not None:
                self._history.close()
                self._history = None
        with self._facts_lock:
            self._facts.close()

    def advance(self) -> None:
        """Reads on for at most ``SLICE`` seconds."""
        with self._lock:
            self._state = self._reader.read(SLICE)

    def catch_up(self) -> None:
        """Reads on for at most ``PROGRESS`` seconds, for an answer of its own."""
        with self._lock:
            self._state = self._reader.read(PROGRESS)

    def has_news(self, request: FrameRequest) -> bool:
        """Whether there is more than what a browser knows, as of the latest ``advance``."""
        shown = request.at
        if shown is None or shown > self._state.cursor.sequence:
            shown = self._state.cursor.sequence
        return request.from_sequence != shown

    def frame(self, request: FrameRequest) -> Frame:
        """Returns what changed of the views that were asked for.

        Raises:
            KarnError: If there is no such view.
        """
        with self._lock:
            lock = probe_lock(self.directory)  # before the log: a run may end in between
            self._state = self._reader.read(SLICE)
            condition = condition_of(self.directory, self._reader, self._state, lock, time.time())
            frames = [
                frame_of(
                    self._reader,
                    self._state,
                    view,
                    request.from_sequence,
                    request.at,
                    stream=request.stream,
                    condition=condition,
                )
                for view in self._views(request)
            ]
        return _joined(frames)

    def facts(self) -> RunFacts:
        """Returns what a comparison needs of the run."""
        with self._facts_lock:
            return self._facts.read()

    def older_lines(self, request: LogRequest) -> OlderLines:
        """Returns lines of the log that its panel does not have; none while they are read."""
        with self._history_lock:
            if self._history is None:
                self._history = LogHistory(resolve_log(self.directory))
            history = self._history
            history.read(PROGRESS)
            if history.share < 1.0:
                return OlderLines(read=history.share)
            until = None if request.before is None else request.before - 1
            lines, older = history.latest(request.limit, until=until)
            return OlderLines(lines=lines, older=older + history.dropped)

    @property
    def share(self) -> float:
        """Share of the log that is read, below 1 while a long one is being opened."""
        return self._reader.share

    def _views(self, request: FrameRequest) -> list[str]:
        """Returns the views, without those of hosts that have not started yet."""
        started = {f"{HOST}{each.index}" for each in self._state.environments}
        names = request.view.split(",")
        found = [name for name in names if name in VIEWS or name in started]
        for name in names:
            if name not in found and not _is_host(name):
                raise KarnError(f"there is no view '{name}'; views: {', '.join(VIEWS)}, {HOST}0")
        return found or ["run"]


def _is_host(name: str) -> bool:
    return name.startswith(HOST) and name.removeprefix(HOST).isdecimal()


def _joined(frames: list[Frame]) -> Frame:
    """Returns frames of several views of one moment as one."""
    first = frames[0]
    if len(frames) == 1:
        return first
    return Frame(
        stream=first.stream,
        from_sequence=min(each.from_sequence for each in frames),
        to_sequence=first.to_sequence,
        panels={name: panel for each in frames for name, panel in each.panels.items()},
        series={name: tail for each in frames for name, tail in each.series.items()},
    )


class OpenRuns:
    """The runs that were asked for lately, at most ``OPEN_RUNS``.

    Args:
        snapshots: Folder of the snapshots of all runs; ``None`` to keep none.
    """

    def __init__(self, snapshots: Path | None) -> None:
        self._snapshots = snapshots
        self._runs: OrderedDict[Path, OpenRun] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, directory: Path) -> OpenRun:
        """Returns a run, opened if it was not.

        Raises:
            KarnError: If it is no run directory.
        """
        with self._lock:
            run = self._runs.get(directory)
            if run is None:
                run = self._runs[directory] = OpenRun(directory, self._snapshots)
            self._runs.move_to_end(directory)
            while len(self._runs) > OPEN_RUNS:
                self._runs.popitem(last=False)[1].close()
            return run

    def compare(self, directories: Sequence[Path]) -> RunComparison:
        """Compares runs; the first one is the baseline of paired differences.

        Raises:
            KarnError: If there are too few or too many, a log cannot be read, or they trained
                different tasks.
        """
        if len(directories) > OPEN_RUNS:
            raise KarnError(f"{len(directories)} runs are too many; compare at most {OPEN_RUNS}")
        return compare([self.get(directory).facts() for directory in directories])

    def close(self) -> None:
        """Closes all runs."""
        with self._lock:
            for run in self._runs.values():
                run.close()
            self._runs.clear()
