"""Reads a run for Sanctum: one answer to each request, on a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from esper_karn.errors import KarnError
from esper_karn.runs.folder import is_run_directory, newest_run, resolve_log
from esper_karn.runs.frames import condition_of, frame_of
from esper_karn.runs.log_history import LogHistory
from esper_karn.snapshots.run_reader import RunReader
from esper_karn.state.run import RunState
from esper_karn.views.condition import Condition
from esper_karn.views.frame import HOST, Frame
from esper_karn.views.log import LOG_LINES, Log, log_lines
from esper_leyline.run_lock import LockProbe, probe_lock

SLICE = 0.2
"""Seconds for which a log is read before an answer is given: a long one comes in parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRequest:
    """Which lines of the log to show.

    Attributes:
        text: Only lines with this text; empty for all.
        lines: The most lines; ``None`` for the latest ones that the run's state keeps, which need
            no second reading of the log.
    """

    text: str = ""
    lines: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Lines of the log.

    Attributes:
        log: The lines.
        older: Number of older lines that may be asked for; ``None`` where it is not known.
        share: Share of the log that was read for them, below 1 while older lines are to come.
    """

    log: Log
    older: int | None = None
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to show next.

    Attributes:
        views: Views of ``esper_karn.views.frame``.
        at: The event to show the run at; ``None`` for the latest.
        stream: Of what is known; another one voids it.
        known: By view, the last event that is known.
        log: Which lines of the log; ``None`` not to ask for it.
    """

    views: tuple[str, ...]
    at: int | None = None
    stream: str | None = None
    known: Mapping[str, int] = field(default_factory=dict)
    log: LogRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What changed.

    Attributes:
        run: The run's directory; ``None`` if there is no run yet.
        frames: By view.
        condition: How the run stands; ``None`` while the end of its log is not read yet.
        log: Lines of the log, if they were asked for.
        share: Share of the log that was read, below 1 while a long one is being opened.
        latest: The last event that was read, -1 before the first.
        ended: Whether the log has the run's end.
        problem: Why the run cannot be read, ``None`` if it can.
    """

    run: Path | None = None
    frames: Mapping[str, Frame] = field(default_factory=dict)
    condition: Condition | None = None
    log: LogPage | None = None
    share: float = 1.0
    latest: int = -1
    ended: bool = False
    problem: str | None = None


class RunSource:
    """One run, read when the interface asks. Used by one thread at a time.

    Args:
        target: A run's directory, its log, or a folder of runs, of which the latest is read. It
            need not exist yet.
        snapshots: Folder of the snapshots of all runs; ``None`` to keep none.
        clock: Returns the Unix time.
        probe: Looks at a run's lock.
    """

    def __init__(
        self,
        target: Path,
        snapshots: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        probe: Callable[[Path], LockProbe] = probe_lock,
    ) -> None:
        self.target = target
        self._snapshots = snapshots
        self._clock = clock
        self._probe = probe
        self._run: Path | None = None
        self._reader: RunReader | None = None
        self._history: LogHistory | None = None

    def close(self) -> None:
        """Closes the log."""
        for each in (self._reader, self._history):
            if each is not None:
                each.close()
        self._reader = self._history = None

    def answer(self, request: Request) -> Answer:
        """Reads what was added to the log, and returns what changed of the views."""
        try:
            reader = self._open()
            if reader is None or self._run is None:
                return Answer()
            return self._answer(self._run, reader, request)
        except KarnError as error:
            return Answer(run=self._run, problem=str(error))

    def _open(self) -> RunReader | None:
        """Opens the run, as soon as there is one."""
        if self._reader is None:
            found = _find(self.target)
            if found is not None:
                self._run, log = found
                self._reader = RunReader(log, self._snapshots)
        return self._reader

    def _answer(self, run: Path, reader: RunReader, request: Request) -> Answer:
        lock = self._probe(run)  # before the log: a run may end in between
        latest = reader.read(SLICE)
        condition = condition_of(run, reader, latest, lock, self._clock())
        shown = latest
        if request.at is not None and request.at < latest.cursor.sequence:
            shown = reader.read_at(request.at)
        frames = {
            view: frame_of(
                reader,
                latest,
                view,
                request.known.get(view, -1),
                request.at,
                stream=request.stream,
                condition=condition,
            )
            for view in request.views
            if _exists(view, shown)
        }
        return Answer(
            run=run,
            frames=frames,
            condition=condition,
            log=None if request.log is None else self._page(run, shown, request.log),
            share=reader.share,
            latest=latest.cursor.sequence,
            ended=latest.ended,
        )

    def _page(self, run: Path, shown: RunState, request: LogRequest) -> LogPage:
        """Returns lines of the log: the latest from the state, older ones from the file."""
        log = log_lines(shown, text=request.text)
        if request.lines is None:
            return LogPage(log=log, older=0 if _has_all_lines(shown) else None)
        if self._history is None:
            self._history = LogHistory(resolve_log(run))
        history = self._history
        history.read(SLICE)
        if history.share < 1.0:
            return LogPage(log=log, share=history.share)
        lines, older = history.latest(request.lines, request.text, shown.cursor.sequence)
        return LogPage(log=replace(log, lines=lines), older=older + history.dropped)


def _has_all_lines(state: RunState) -> bool:
    """Whether a state is sure to have every line of the log."""
    notices = state.notices
    groups = (notices.anomalies, notices.lifecycle, notices.hosts, notices.run)
    return sum(map(len, groups)) < LOG_LINES


def _find(target: Path) -> tuple[Path, Path] | None:
    """Returns the directory and the log of a run, ``None`` if there is none yet."""
    if target.is_file():
        return target.parent, target
    run = target if is_run_directory(target) else newest_run(target)
    return None if run is None else (run, resolve_log(run))


def _exists(view: str, state: RunState) -> bool:
    """Whether a view can be shown: hosts are there from their first episode on."""
    return not view.startswith(HOST) or any(
        view == f"{HOST}{each.index}" for each in state.environments
    )
