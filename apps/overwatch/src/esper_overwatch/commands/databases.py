"""Opens runs as a database, with its cache in the user's cache directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from esper_karn import echo_error, is_run_directory
from esper_leyline.extras import require_extra
from esper_leyline.files.paths import check_folder_of
from esper_overwatch.commands.runs import find_runs
from esper_overwatch.errors import OverwatchError

if TYPE_CHECKING:
    from esper_karn.analytics.database import RunsDatabase


@contextmanager
def open_database(runs: Sequence[Path], command: str) -> Iterator[RunsDatabase]:
    """Opens runs as a database.

    Args:
        runs: Run directories, or folders of them.
        command: Who asks, for a message.

    Raises:
        EsperError: If the extra ``sql`` is not installed, or a folder has no run.
    """
    require_extra(f"'{command}'", ["duckdb"], extra="sql", distribution="esper-overwatch")
    from esper_karn.analytics.database import open_runs

    paths = [path for run in runs for path in expand(run)]
    with open_runs(paths, user_cache("logs")) as database:
        if database.warning is not None:
            echo_error(database.warning, "warning")
        for run in database.runs:
            if run.problem is not None:
                echo_error(f"{run.name} is left out: {run.problem}", "warning")
            elif run.unread:
                echo_error(f"{run.name}: {run.unread} unreadable lines left out", "warning")
        yield database


def expand(run: Path) -> list[Path]:
    """Returns a run, or the runs in a folder, the earliest first."""
    check_folder_of("--runs", run)
    return [run] if is_run_directory(run) else find_runs(run)[::-1]


def user_cache(name: str) -> Path:
    """Returns a folder for a cache: below ``XDG_CACHE_HOME``, or ``~/.cache``.

    Args:
        name: What it holds: ``logs`` as tables, or ``snapshots`` of runs.

    Raises:
        OverwatchError: If there is no home directory.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        caches = Path(named) if named.startswith("/") else Path.home() / ".cache"
    except RuntimeError as error:
        raise OverwatchError(
            "there is no home directory for the cache; set XDG_CACHE_HOME to a folder"
        ) from error
    return caches / "esper" / name
