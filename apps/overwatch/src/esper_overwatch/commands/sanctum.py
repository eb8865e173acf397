"""Shows a run in Sanctum."""

from __future__ import annotations

import gc
from pathlib import Path

from esper_karn import is_run_directory
from esper_karn.log.log_ends import first_event
from esper_karn.terminal.device import why_no_terminal
from esper_leyline.extras import require_extra
from esper_leyline.files.caches import user_cache
from esper_overwatch.commands.runs import find_runs
from esper_overwatch.errors import OverwatchError

RUNS = Path("runs")
"""The folder of which the latest run is shown if none is named."""


def show_in_sanctum(run: Path | None) -> None:
    """Shows a run until the user leaves.

    Args:
        run: A run's directory, its log, or a folder of runs; ``None`` for the folder ``runs``,
            which need not exist yet.

    Raises:
        EsperError: If it is none of these, there is no terminal, or the extra ``tui`` is missing.
    """
    if run is not None:
        _check_run(run)
    require_extra("'esper-overwatch tui'", ["textual"], extra="tui", distribution="esper-overwatch")
    reason = why_no_terminal((0, 1, 2))
    if reason is not None:
        raise OverwatchError(
            f"'esper-overwatch tui' needs a terminal: {reason}; without one, use "
            "esper-overwatch show or web"
        )
    from esper_karn.tui.app import Sanctum
    from esper_karn.tui.source import RunSource

    source = RunSource(run or RUNS, user_cache("snapshots"))
    gc.freeze()  # What was imported stays, so that collections, which delay frames, pass over it.
    try:
        Sanctum(source).run()
    finally:
        source.close()


def _check_run(run: Path) -> None:
    if run.is_dir():
        if not is_run_directory(run):
            find_runs(run)
    elif first_event(run) is None:
        raise OverwatchError(
            f"'{run}' is no run: name the directory of a run, its log, or a folder of runs"
        )
