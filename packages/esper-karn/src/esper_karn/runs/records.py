"""Reads a run's directory: its report from ``summary.json``, or from its log without one."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from esper_karn.errors import KarnError, first_problem
from esper_karn.log.log_ends import LogTail, first_event
from esper_karn.log.reader import EventReader, Problem, problems_text
from esper_karn.runs.folder import resolve_log
from esper_karn.runs.liveness import DOUBTFUL, Liveness, liveness_of
from esper_karn.state.reducer import fold
from esper_karn.state.rounds import RoundStats
from esper_karn.state.run import RunState
from esper_karn.state.run_report import RunReport
from esper_leyline import LeylineError, RunStatus, RunSummary, read_config
from esper_leyline.events import RoundCompleted, RunCompleted, RunFailed, RunStarted
from esper_leyline.files.paths import os_reason, read_regular
from esper_leyline.run_files import CONFIG_FILE, SUMMARY_FILE
from esper_leyline.run_lock import LockProbe, probe_lock

OUTDATED_AFTER = 10.0
"""Seconds by which a log must be newer than the summary before the log is read as well."""

SUMMARY_LIMIT = 256 << 20
"""Largest summary that is read, in bytes: half a million rounds."""

SPARK = 24
"""Rounds whose accuracy a list shows, the latest ones."""

_OUTLINE = frozenset(
    {
        "run_started",
        "environment_built",
        "run_resumed",
        "run_completed",
        "run_failed",
        "round_completed",
        "checkpoint_saved",
    }
)
"""Kinds from which a run's report is built."""

_ROUND = frozenset({"round_completed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run, read from its directory.

    Attributes:
        report: From the summary; without one, from the log.
        last_event: Unix time of the last event, ``None`` without one.
        last_kind: The kind of that event; ``None`` for a run with a summary.
        lock: What the run's lock said before its log was read.
        unread: One line on the lines of the log that could not be read, ``None`` if all could.
        resume: The command with which a run that ended early continues, as its summary says.
    """

    run_id: str
    report: RunReport
    last_event: float | None
    last_kind: str | None = None
    lock: LockProbe = field(default_factory=LockProbe)
    unread: str | None = None
    resume: str | None = None

    def liveness(self, now: float) -> Liveness:
        """Returns what is known of its process at a Unix time."""
        return liveness_of(self.report.status, self.lock, self.last_event, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPeek:
    """One run in a list, read from its summary or from the two ends of its log.

    Attributes:
        status: ``None`` if the run cannot be read; ``problem`` has the reason.
        rounds_done: Number of the last finished round.
        rounds_total: Rounds of the whole run, ``None`` if not known or all done.
        last_round: The last finished round, ``None`` if it was not found.
        accuracies: Mean final validation accuracy of the latest rounds, in percent.
        best_accuracies: Best final validation accuracy of these rounds; of all rounds for a run
            with a summary.
        last_event: Unix time of the last event, ``None`` without one.
        last_kind: The kind of that event; ``None`` for a run with a summary.
        lock: What the run's lock said before its log was read.
        problem: Why the run cannot be read.
        note: A remark, for example that the last line of the log cannot be read.
    """

    run_id: str
    task: str | None = None
    status: RunStatus | None = None
    rounds_done: int = 0
    rounds_total: int | None = None
    last_round: RoundStats | None = None
    accuracies: tuple[float | None, ...] = ()
    best_accuracies: tuple[float | None, ...] = ()
    last_event: float | None = None
    last_kind: str | None = None
    lock: LockProbe = field(default_factory=LockProbe)
    problem: str | None = None
    note: str | None = None

    def liveness(self, now: float) -> Liveness | None:
        """Returns what is known of its process at a Unix time; ``None`` if it cannot be read."""
        if self.status is None:
            return None
        return liveness_of(self.status, self.lock, self.last_event, now)

    @property
    def ended(self) -> bool:
        """Whether the run has ended, so that it is read again only if its files change."""
        return self.status not in {None, RunStatus.RUNNING}

    def status_text(self, now: float) -> str:
        """Returns the status in one word: also ``crashed``, ``stale`` and ``unreadable``."""
        if self.status is None:
            return "unreadable"
        liveness = self.liveness(now)
        return str(liveness) if liveness in DOUBTFUL else str(self.status)


def read_run(run_directory: Path) -> RunRecord:
    """Reads a run's summary, or the main events of its log if it has none.

    Raises:
        KarnError: If the folder is no run, or neither summary nor log can be read, or
            no line of the log is an event.
    """
    log = resolve_log(run_directory)
    lock = probe_lock(run_directory)  # before the log: a run may end in between
    summary = _read_current_summary(run_directory, log)
    run_id = run_directory.resolve().name
    if summary is not None:
        return RunRecord(
            run_id=run_id,
            report=RunReport.of(summary),
            last_event=_end_of(summary),
            resume=summary.resume,
        )
    state, count, first = _read_log(log, _OUTLINE)
    if state.cursor.sequence < 0:
        # None of these kinds: read all lines, so that the error can describe them.
        state, count, first = _read_log(log, None)
    if state.cursor.sequence < 0 and first is not None:
        raise KarnError(f"run '{run_directory}' has no event: {problems_text(log, count, first)}")
    last = next(LogTail(log).events(), None)
    return RunRecord(
        run_id=run_id,
        report=state.report,
        last_event=last.wall_time if last else None,
        last_kind=last.kind if last else None,
        lock=lock,
        unread=None if first is None else problems_text(log, count, first),
    )


def peek(run_directory: Path) -> RunPeek:
    """Reads what a list shows of a run: its summary, or the two ends of its log.

    A run that cannot be read has a ``problem``; nothing is raised.
    """
    try:
        log = resolve_log(run_directory)
        lock = probe_lock(run_directory)  # before the log: a run may end in between
        summary = _read_current_summary(run_directory, log)
        if summary is not None:
            return _peek_at_summary(run_directory, summary)
        return _peek_at_log(run_directory.name, log, lock)
    except KarnError as error:
        return RunPeek(run_id=run_directory.name, problem=str(error))


def read_summary(path: Path) -> RunSummary | None:
    """Reads a run's ``summary.json``; returns ``None`` if there is no such file.

    Raises:
        KarnError: If it cannot be read, is too large, or is not a summary.
    """
    try:
        text = read_regular(path, SUMMARY_LIMIT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KarnError(f"cannot read '{path}': {os_reason(error)}") from error
    except LeylineError as error:
        raise KarnError(f"cannot read '{path}': it {error}") from None
    try:
        return RunSummary.model_validate_json(text)
    except RecursionError:
        raise KarnError(f"'{path}' is not a run summary: it is nested too deeply") from None
    except ValidationError as error:
        raise KarnError(f"'{path}' is not a run summary: {first_problem(error)}") from None


def _read_log(log: Path, kinds: frozenset[str] | None) -> tuple[RunState, int, Problem | None]:
    """Returns a log's state, the number of lines that could not be read, and the first one."""
    with EventReader(log, kinds=kinds) as reader:
        state = fold(reader.read())
        return state, reader.problem_count, next(iter(reader.problems), None)


def _read_current_summary(run_directory: Path, log: Path) -> RunSummary | None:
    """Returns a run's summary, ``None`` if there is none or the run went on after it."""
    path = run_directory / SUMMARY_FILE
    summary = read_summary(path)
    if summary is None:
        return None
    try:
        written = path.stat().st_mtime
        log_written = log.stat().st_mtime if log.exists() else written
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KarnError(f"cannot read '{path}': {os_reason(error)}") from error
    if log_written > written + OUTDATED_AFTER and not _has_ended(log):
        return None
    return summary


def _has_ended(log: Path) -> bool:
    """Whether the last of a log's main events is the end of the run."""
    last = next(LogTail(log).events(_OUTLINE), None)
    return last is not None and isinstance(last.payload, RunCompleted | RunFailed)


def _peek_at_summary(run_directory: Path, summary: RunSummary) -> RunPeek:
    last = RoundStats.of(summary.rounds[-1]) if summary.rounds else None
    return RunPeek(
        run_id=run_directory.name,
        task=summary.task,
        status=summary.status,
        rounds_done=last.last if last else 0,
        rounds_total=_planned_rounds(run_directory, summary),
        last_round=last,
        accuracies=tuple(each.mean_accuracy for each in summary.rounds[-SPARK:]),
        best_accuracies=tuple(each.best_accuracy for each in summary.rounds),
        last_event=_end_of(summary),
    )


def _planned_rounds(run_directory: Path, summary: RunSummary) -> int | None:
    """Returns the rounds that a run which ended early was to have; ``None`` for any other."""
    if summary.status is RunStatus.COMPLETED:
        return None
    try:
        return read_config(run_directory / CONFIG_FILE).n_episodes
    except LeylineError:
        return None


def _end_of(summary: RunSummary) -> float:
    """Returns the Unix time of a run's end."""
    if summary.ended is not None:
        return summary.ended
    return summary.started + summary.seconds


def _peek_at_log(run_id: str, log: Path, lock: LockProbe) -> RunPeek:
    first = first_event(log)
    started = first.payload if first and isinstance(first.payload, RunStarted) else None
    tail = LogTail(log)
    last = next(tail.events(), None)
    unread = tail.last_problem()
    if first is None and last is None and unread is not None:
        raise KarnError(f"no event at either end of log '{log}'; its last line: {unread}")
    rounds = [
        event.payload.summary
        for event in islice(tail.events(_ROUND), SPARK)
        if isinstance(event.payload, RoundCompleted)
    ][::-1]
    last_round = RoundStats.of(rounds[-1]) if rounds else None
    # Without a finished round near the end, count the rounds before the current one.
    before = max(0, (last.round or 1) - 1) if last else 0
    return RunPeek(
        run_id=run_id,
        task=started.config.task if started else None,
        status=_status_at(last.payload) if last else RunStatus.RUNNING,
        rounds_done=last_round.last if last_round else before,
        rounds_total=started.config.n_episodes if started else None,
        last_round=last_round,
        accuracies=tuple(each.mean_accuracy for each in rounds),
        best_accuracies=tuple(each.best_accuracy for each in rounds),
        last_event=last.wall_time if last else None,
        last_kind=last.kind if last else None,
        lock=lock,
        note=None if unread is None else f"unreadable last line of its log: {unread}",
    )


def _status_at(payload: object) -> RunStatus:
    if isinstance(payload, RunCompleted):
        return payload.status
    return RunStatus.FAILED if isinstance(payload, RunFailed) else RunStatus.RUNNING
