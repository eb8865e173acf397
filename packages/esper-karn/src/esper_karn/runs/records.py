"""What is known of a run on disk: from its summary, or from its log where it has none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from esper_karn.errors import KarnError, os_reason
from esper_karn.formatting import format_age
from esper_karn.log.lines import read_file
from esper_karn.log.log_ends import LogTail, first_event
from esper_karn.log.reader import EventReader, Problem, problems_text
from esper_karn.runs.folder import SUMMARY_FILE, resolve_log
from esper_karn.state.reducer import fold
from esper_karn.state.run import RunState
from esper_leyline import RunStatus, RunSummary
from esper_leyline.events import RoundCompleted, RunCompleted, RunFailed, RunStarted

OUTDATED_AFTER = 10.0
"""Seconds by which a log must be newer than a summary to be asked whether the run goes on."""

SUMMARY_LIMIT = 256 << 20
"""Largest summary that is read, in bytes: a run of half a million rounds."""

_OUTLINE = frozenset(
    {
        "run_started",
        "run_resumed",
        "run_completed",
        "run_failed",
        "round_completed",
        "checkpoint_saved",
    }
)

_ROUND = frozenset({"round_completed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run as its directory tells it.

    Attributes:
        source: Its summary; for a run without one, the outline of its log.
        last_event: Unix time of the last sign of life, ``None`` if there was none.
        unread: One line on what of the log could not be read, ``None`` if all could.
    """

    run_id: str
    source: RunSummary | RunState
    last_event: float | None
    unread: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPeek:
    """One run in a list.

    Attributes:
        status: ``None`` where ``problem`` says why it is not known.
        rounds: Rounds finished; of ``planned``, where the log says so.
        last_return: Mean return of the last round.
        accuracy: Mean accuracy of the last round, in percent.
        last_event: Unix time of the last sign of life.
        note: What else there is to know, such as a last line that cannot be read.
    """

    run_id: str
    task: str | None = None
    status: RunStatus | None = None
    rounds: int = 0
    planned: int | None = None
    last_return: float | None = None
    accuracy: float | None = None
    last_event: float | None = None
    problem: str | None = None
    note: str | None = None


def read_run(run_directory: Path) -> RunRecord:
    """Reads a run's summary, or the outline of its log if it has none.

    Raises:
        KarnError: If the folder is no run, or neither summary nor log can be read, or
            no line of the log is an event.
    """
    log = resolve_log(run_directory)
    summary = _read_summary(run_directory, log)
    run_id = run_directory.resolve().name
    if summary is not None:
        ended = summary.started + summary.seconds
        return RunRecord(run_id=run_id, source=summary, last_event=ended)
    state, count, first = _read_log(log, _OUTLINE)
    if state.run_id is None:
        # No event of the outline: look at all lines, to say what is there instead.
        state, count, first = _read_log(log, None)
    if state.run_id is None and first is not None:
        raise KarnError(f"run '{run_directory}' has no event: {problems_text(log, count, first)}")
    return RunRecord(
        run_id=run_id,
        source=state,
        last_event=_last_time(LogTail(log)),
        unread=None if first is None else problems_text(log, count, first),
    )


def peek(run_directory: Path) -> RunPeek:
    """Reads what a list shows of a run: its summary, or the ends of its log.

    A run that cannot be read is described by ``problem`` instead of raising.
    """
    try:
        log = resolve_log(run_directory)
        summary = _read_summary(run_directory, log)
        if summary is not None:
            return _glance_at_summary(run_directory.name, summary)
        return _glance_at_log(run_directory.name, log)
    except KarnError as error:
        return RunPeek(run_id=run_directory.name, problem=str(error))


def read_summary(path: Path) -> RunSummary | None:
    """Reads a run's ``summary.json``; ``None`` if there is no such file.

    Raises:
        KarnError: If it cannot be read, is too large, or is not a summary.
    """
    try:
        text = read_file(path, SUMMARY_LIMIT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KarnError(f"cannot read '{path}': {os_reason(error)}") from error
    try:
        return RunSummary.model_validate_json(text)
    except RecursionError:
        raise KarnError(f"'{path}' is not a run summary: it is nested too deeply") from None
    except ValidationError as error:
        reason = error.errors()[0]
        where = ".".join(str(part) for part in reason["loc"])
        raise KarnError(f"'{path}' is not a run summary: {where}: {reason['msg']}") from None


def status_text(status: RunStatus, last_event: float | None, now: float) -> str:
    """Words a status; a run without an end is either still going or was killed.

    Args:
        status: As the run's summary or log says.
        last_event: Unix time of its last sign of life.
        now: Unix time.
    """
    if status is not RunStatus.RUNNING:
        return status.value
    if last_event is None:
        return "running or crashed, no event yet"
    return f"running or crashed, last event {format_age(now - last_event)}"


def _read_log(log: Path, kinds: frozenset[str] | None) -> tuple[RunState, int, Problem | None]:
    """Returns a log's state, how many lines could not be read, and the first of them."""
    with EventReader(log, kinds=kinds) as reader:
        state = fold(reader.read())
        return state, reader.problem_count, next(iter(reader.problems), None)


def _last_time(tail: LogTail) -> float | None:
    last = next(tail.events(), None)
    return last.wall_time if last else None


def _read_summary(run_directory: Path, log: Path) -> RunSummary | None:
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
    """Whether the last thing a log says of its run is that it is over."""
    last = next(LogTail(log).events(_OUTLINE), None)
    return last is not None and isinstance(last.payload, RunCompleted | RunFailed)


def _glance_at_summary(run_id: str, summary: RunSummary) -> RunPeek:
    last = summary.rounds[-1] if summary.rounds else None
    return RunPeek(
        run_id=run_id,
        task=summary.task,
        status=summary.status,
        rounds=len(summary.rounds),
        last_return=last.mean_return if last else None,
        accuracy=last.mean_accuracy if last else None,
        last_event=summary.started + summary.seconds,
    )


def _glance_at_log(run_id: str, log: Path) -> RunPeek:
    first = first_event(log)
    started = first.payload if first and isinstance(first.payload, RunStarted) else None
    tail = LogTail(log)
    last = next(tail.events(), None)
    unread = tail.last_problem()
    if first is None and last is None and unread is not None:
        raise KarnError(f"no event at either end of log '{log}'; its last line: {unread}")
    ended = next(tail.events(_ROUND), None)
    summary = ended.payload.summary if ended and isinstance(ended.payload, RoundCompleted) else None
    # Where no end of a round is near, the round that has begun tells how many are done.
    begun = max(0, (last.round or 1) - 1) if last else 0
    return RunPeek(
        run_id=run_id,
        task=started.config.task if started else None,
        status=_status_at(last.payload) if last else RunStatus.RUNNING,
        rounds=summary.round if summary else begun,
        planned=started.config.n_episodes if started else None,
        last_return=summary.mean_return if summary else None,
        accuracy=summary.mean_accuracy if summary else None,
        last_event=last.wall_time if last else None,
        note=None if unread is None else f"unreadable last line of its log: {unread}",
    )


def _status_at(payload: object) -> RunStatus:
    if isinstance(payload, RunCompleted):
        return payload.status
    return RunStatus.FAILED if isinstance(payload, RunFailed) else RunStatus.RUNNING
