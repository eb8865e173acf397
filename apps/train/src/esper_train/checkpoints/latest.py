"""Which run of a folder is the latest one, also if the clock was set back meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from esper_leyline.run_files import CONFIG_FILE
from esper_leyline.run_lock import RunOwner, probe_lock, this_machine
from esper_nissa import RunDirectory
from esper_train.errors import TrainError

LATEST = "latest"
"""The value of ``--resume`` that means the latest run of ``--runs``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trained:
    """A run of ``esper-train ppo``, and the process that trained it last."""

    path: Path
    owner: RunOwner

    @property
    def uptime(self) -> float:
        """When that process started, by the uptime of this machine; -1 if that is not known."""
        if self.owner.machine != this_machine() or self.owner.uptime is None:
            return -1.0
        return self.owner.uptime

    @property
    def clock(self) -> tuple[float, str]:
        """When it started by the clock; runs that do not say so are the earliest, by name."""
        return self.owner.started or 0.0, self.path.name


def latest_run(runs: Path) -> RunDirectory:
    """Returns the run whose trainer started last, as the lock files of the runs say.

    Runs that this machine trained since its own start are ordered by its uptime, which setting
    the clock does not change, and come after those that it trained before. Only runs of different
    machines, or from before the start, are ordered by the clock.

    Raises:
        TrainError: If there is no run of ``esper-train ppo``.
    """
    found = [
        _Trained(path=path.parent, owner=owner)
        for path in runs.glob(f"*/{CONFIG_FILE}")
        if (owner := probe_lock(path.parent).owner) is not None and owner.command == "ppo"
    ]
    if not found:
        raise TrainError(
            f"--resume {LATEST}: no run of esper-train ppo in '{runs}'; name its folder with "
            "--runs, or the run itself with --resume"
        )
    here = max(found, key=lambda run: (run.uptime, run.clock))
    if here.uptime >= 0:
        found = [here, *(run for run in found if _is_elsewhere(run, here))]
    return RunDirectory.open(max(found, key=lambda run: run.clock).path)


def _is_elsewhere(run: _Trained, here: _Trained) -> bool:
    """Whether a run was trained on another machine than one that was trained on this one."""
    return run.uptime < 0 and run.owner.host != here.owner.host
