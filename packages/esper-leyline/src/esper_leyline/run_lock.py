"""``run.lock``: which process trains a run, and whether a reader may conclude that it died.

A trainer holds an exclusive ``flock`` on the file for as long as its run lasts, so the system
releases it however the process ends.
"""

from __future__ import annotations

import fcntl
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import FiniteFloat, ValidationError

from esper_leyline.errors import LeylineError
from esper_leyline.files.paths import open_regular, working_directory
from esper_leyline.run_files import LOCK_FILE
from esper_leyline.wire import Contract

MOST_BYTES = 1 << 15
"""Largest lock file that is read."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RunOwner(Contract):
    """The process that trains a run, or was the last to do so: the content of its lock file.

    Attributes:
        command: Its command of ``esper-train``.
        pid: Its id on its machine.
        host: The name of its machine, for people.
        machine: Identifies the machine since it was started (``this_machine``).
        locked: Whether its file system has locks.
        group: The comparison that the run is an arm of; ``None`` outside one.
        folder: Its working directory, which relative paths of its settings start from; ``None``
            if that is not known.
        started: When it locked the run, in Unix seconds.
        uptime: The same in seconds since its machine was started; setting the clock does not
            change it. ``None`` where the system does not say.
    """

    command: str
    pid: int
    host: str
    machine: str
    locked: bool
    group: str | None = None
    folder: str | None = None
    started: FiniteFloat | None = None
    uptime: FiniteFloat | None = None


class LockState(StrEnum):
    """Whether a process holds a run's lock."""

    HELD = "held"
    FREE = "free"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockProbe:
    """What a run's lock says.

    Attributes:
        state: Whether a trainer holds it. ``FREE`` is certain: there is no trainer any more.
        owner: The process that holds or held it; ``None`` if that cannot be read.
    """

    state: LockState = LockState.UNKNOWN
    owner: RunOwner | None = None


def this_machine() -> str:
    """Returns a name of this machine that changes when it is restarted.

    Containers of one machine share it, as they share its locks. Where the system has no such
    name, the host's name stands for it.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def probe_lock(run_directory: Path) -> LockProbe:
    """Looks at a run's lock, and releases it at once; never waits and raises nothing.

    A lock that is free only counts on the machine of its last holder, since locks of a network
    file system may not reach other machines. Probe before reading the log: a run whose lock is
    free and whose log, read later, has no end was killed.
    """
    try:
        with open_regular(run_directory / LOCK_FILE) as file:
            try:
                # Shared, so that readers do not see each other.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return LockProbe(state=LockState.HELD, owner=_read_owner(file.read(MOST_BYTES)))
            fcntl.flock(file, fcntl.LOCK_UN)
            owner = _read_owner(file.read(MOST_BYTES))
    except (OSError, LeylineError):
        return LockProbe()
    known = owner is not None and owner.locked and owner.machine == this_machine()
    return LockProbe(state=LockState.FREE if known else LockState.UNKNOWN, owner=owner)


def started_last(owners: Mapping[Path, RunOwner | None]) -> Path | None:
    """Returns the run whose trainer started last, as the lock files say; ``None`` without a run.

    Runs that this machine trained since its own start are ordered by its uptime, which setting
    the clock does not change, and come after those that it trained before. Only runs of different
    machines, or from before the start, are ordered by the clock. Runs that do not say when they
    started are the earliest, by name.

    Args:
        owners: The process that trains or trained each run, by the run's directory.
    """
    runs = [_Trained(path, owner) for path, owner in owners.items()]
    if not runs:
        return None
    here = max(runs, key=lambda run: (run.uptime, run.clock))
    if here.uptime >= 0:
        runs = [here, *(run for run in runs if run.uptime < 0 and run.host != here.host)]
    return max(runs, key=lambda run: run.clock).path


@dataclass(frozen=True, slots=True)
class _Trained:
    """A run, and the process that trained it last."""

    path: Path
    owner: RunOwner | None

    @property
    def uptime(self) -> float:
        """When that process started, by the uptime of this machine; -1 if that is not known."""
        if self.owner is None or self.owner.machine != this_machine():
            return -1.0
        return -1.0 if self.owner.uptime is None else self.owner.uptime

    @property
    def clock(self) -> tuple[float, str]:
        """When it started by the clock, 0 if that is not known, and the name of the run."""
        started = None if self.owner is None else self.owner.started
        return started or 0.0, self.path.name

    @property
    def host(self) -> str | None:
        """The name of its machine."""
        return None if self.owner is None else self.owner.host


def owner_here(command: str, *, locked: bool, group: str | None = None) -> RunOwner:
    """Returns this process as the owner of a run."""
    return RunOwner(
        command=command,
        pid=os.getpid(),
        host=platform.node(),
        machine=this_machine(),
        locked=locked,
        group=group,
        folder=working_directory(),
        started=time.time(),
        uptime=_uptime(),
    )


def _uptime() -> float | None:
    """Returns the seconds since this machine was started, its sleep included."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _read_owner(content: bytes) -> RunOwner | None:
    try:
        return RunOwner.model_validate_json(content)
    except (ValidationError, RecursionError):
        return None
