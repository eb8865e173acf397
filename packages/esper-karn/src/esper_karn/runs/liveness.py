"""Whether a run without an end is alive: from its lock, or else from its last event."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from esper_karn.formatting import format_age
from esper_leyline import RunStatus
from esper_leyline.run_lock import LockProbe, LockState

STALE_AFTER = 20.0
"""Seconds without an event after which a run is stale; a trainer writes one every 5 s."""


class Liveness(StrEnum):
    """What a reader knows of a run's process.

    ``CRASHED`` is certain: no process holds the run's lock, and its log has no end. ``STALE`` is
    what remains where the lock says nothing: on another machine, after a restart of this one, or
    on a file system without locks.
    """

    ENDED = "ended"
    LIVE = "live"
    STALE = "stale"
    CRASHED = "crashed"


DOUBTFUL = (Liveness.CRASHED, Liveness.STALE)
"""Runs without an end that are not alive, or maybe not."""


def liveness_of(
    status: RunStatus, lock: LockProbe, last_event: float | None, now: float
) -> Liveness:
    """Returns what is known of a run's process.

    Args:
        status: From the run's summary or log, read after the lock was probed.
        lock: What its lock says.
        last_event: Unix time of its last event; ``None`` without one.
        now: Unix time.
    """
    if status is not RunStatus.RUNNING:
        return Liveness.ENDED
    if lock.state is LockState.HELD:
        return Liveness.LIVE
    if lock.state is LockState.FREE:
        return Liveness.CRASHED
    fresh = last_event is not None and now - last_event <= STALE_AFTER
    return Liveness.LIVE if fresh else Liveness.STALE


def liveness_text(
    liveness: Liveness, lock: LockProbe, last_event: float | None, now: float, kind: str | None
) -> str:
    """Describes a run without an end in one line.

    Args:
        liveness: What ``liveness_of`` returned.
        lock: What its lock says.
        last_event: Unix time of its last event; ``None`` without one.
        now: Unix time.
        kind: The kind of that event.
    """
    last = "no event yet"
    if last_event is not None:
        last = f"last event {kind or ''}".rstrip() + f" {format_age(now - last_event)}"
    if liveness is Liveness.LIVE:
        return f"running, {last}"
    if liveness is Liveness.CRASHED:
        return f"crashed: its process is gone; {last}"
    who = "its process"
    if lock.owner is not None:
        who = f"process {lock.owner.pid} on {lock.owner.host}"
    return f"stale, {last}: whether {who} is alive is unknown here"


def resume_command(run: Path, *, folder: str | None, more: Sequence[str] = ()) -> str:
    """Returns a shell command that resumes a run, from whatever directory it is started.

    Args:
        run: What to resume; an absolute path, or one that starts at ``folder``.
        folder: Where the run was started: relative paths of its settings start there, and ``uv``
            finds its project there. ``None`` if that is not known.
        more: Further arguments.
    """
    run = run if folder is None else Path(folder, run)
    words = ["uv", "run", "esper-train", "ppo", "--resume", str(run), *more]
    start = "" if folder is None else f"cd {shlex.quote(folder)} && "
    return start + shlex.join(words)


def crash_command(run_directory: Path, lock: LockProbe) -> str | None:
    """Returns the command that resumes a crashed run; ``None`` if it was no run of ``ppo``."""
    if lock.owner is None or lock.owner.command != "ppo":
        return None
    return resume_command(run_directory.absolute(), folder=lock.owner.folder)
