"""Frames of a run for an interface: live, or as the run was at a moment."""

from __future__ import annotations

from pathlib import Path

from esper_karn.runs.liveness import Liveness, crash_command, liveness_of, liveness_text
from esper_karn.snapshots.run_reader import RunReader
from esper_karn.state.run import RunState
from esper_karn.views.condition import Condition, ConditionName
from esper_karn.views.frame import Frame, frame
from esper_karn.views.moment import moment
from esper_leyline.run_lock import LockProbe


def run_frame(
    run: RunReader,
    view: str,
    from_sequence: int = -1,
    at: int | None = None,
    *,
    stream: str | None = None,
    condition: Condition | None = None,
) -> Frame:
    """Returns what changed of a view of a run since an event.

    Besides the panels of the view it has ``moment``, and ``condition`` if one is given.

    Args:
        run: The run; what was added to its log is read.
        view: One of ``VIEWS``, or ``host/`` and the index of an environment.
        from_sequence: The last event that the reader's view knows; -1 for none.
        at: The event to show the run at; ``None`` for the latest.
        stream: Of the reader's view; with another one the whole view is returned.
        condition: How the run stands.

    Raises:
        KarnError: If there is no such view, or the log cannot be read.
    """
    latest = run.read()
    return frame_of(run, latest, view, from_sequence, at, stream=stream, condition=condition)


def frame_of(
    run: RunReader,
    latest: RunState,
    view: str,
    from_sequence: int = -1,
    at: int | None = None,
    *,
    stream: str | None = None,
    condition: Condition | None = None,
) -> Frame:
    """Returns what ``run_frame`` does, of a log that was read already.

    Args:
        run: The run; nothing is read but what a moment of the past needs.
        latest: The state that ``run.read`` returned last.
        view: One of ``VIEWS``, or ``host/`` and the index of an environment.
        from_sequence: The last event that the reader's view knows; -1 for none.
        at: The event to show the run at; ``None`` for the latest.
        stream: Of the reader's view; with another one the whole view is returned.
        condition: How the run stands.

    Raises:
        KarnError: If there is no such view, or the log cannot be read.
    """
    past = at is not None and at < latest.cursor.sequence
    state = run.read_at(at) if past and at is not None else latest
    extra: dict[str, object] = {"moment": moment(state, latest)}
    if condition is not None:
        extra["condition"] = condition
    found = frame(state, view, from_sequence, generation=run.stream, extra=extra)
    if stream is not None and stream != found.stream and found.from_sequence >= 0:
        return frame(state, view, -1, generation=run.stream, extra=extra)
    return found


def condition_of(
    run_directory: Path, run: RunReader, state: RunState, lock: LockProbe, now: float
) -> Condition | None:
    """Returns how a run stands; ``None`` while the end of its log is not read yet.

    Args:
        run_directory: The run.
        run: What reads its log.
        state: The state that it returned last, read after the lock was probed.
        lock: What the run's lock says.
        now: Unix time.
    """
    return None if run.share < 1.0 else run_condition(run_directory, state, lock, now)


def run_condition(run_directory: Path, state: RunState, lock: LockProbe, now: float) -> Condition:
    """Returns how a run stands.

    Args:
        run_directory: The run.
        state: The run as its log describes it, read after the lock was probed.
        lock: What its lock says.
        now: Unix time.
    """
    last = state.cursor.last_wall
    liveness = liveness_of(state.status, lock, last, now)
    if liveness is Liveness.ENDED:
        error = state.report.error
        text = state.status.value if error is None else f"{state.status.value}: {error}"
        return Condition(condition="ended", text=text)
    text = liveness_text(liveness, lock, last, now, None)
    resume = crash_command(run_directory, lock) if liveness is Liveness.CRASHED else None
    if liveness is Liveness.LIVE and state.report.rounds_done == 0 and not state.environments:
        return Condition(condition="waiting", text=text)
    return Condition(condition=_NAMES[liveness], text=text, resume=resume)


_NAMES: dict[Liveness, ConditionName] = {
    Liveness.LIVE: "live",
    Liveness.STALE: "stale",
    Liveness.CRASHED: "crashed",
}
