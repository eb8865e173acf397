"""Which run of a folder is the latest one, also if the clock was set back meanwhile."""

from __future__ import annotations

from pathlib import Path

from esper_leyline.run_files import CONFIG_FILE
from esper_leyline.run_lock import probe_lock, started_last
from esper_nissa import RunDirectory
from esper_train.errors import TrainError

LATEST = "latest"
"""The value of ``--resume`` that means the latest run of ``--runs``."""


def latest_run(runs: Path) -> RunDirectory:
    """Returns the run of ``esper-train ppo`` whose trainer started last (``started_last``).

    Raises:
        TrainError: If there is no run of ``esper-train ppo``.
    """
    owners = {path.parent: probe_lock(path.parent).owner for path in runs.glob(f"*/{CONFIG_FILE}")}
    latest = started_last(
        {run: owner for run, owner in owners.items() if owner and owner.command == "ppo"}
    )
    if latest is None:
        raise TrainError(
            f"--resume {LATEST}: no run of esper-train ppo in '{runs}'; name its folder with "
            "--runs, or the run itself with --resume"
        )
    return RunDirectory.open(latest)
