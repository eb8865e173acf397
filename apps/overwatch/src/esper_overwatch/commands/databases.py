"""Opens runs as a database, with its cache in the user's cache directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from esper_karn import echo_error, is_run_directory, resolve_log
from esper_leyline.extras import require_extra
from esper_leyline.files.caches import user_cache
from esper_leyline.files.paths import check_folder_of
from esper_overwatch.commands.runs import find_runs
from esper_overwatch.errors import OverwatchError

if TYPE_CHECKING:
    from esper_karn.analytics.contents import OpenRun
    from esper_karn.analytics.database import RunsDatabase


@contextmanager
def open_database(
    runs: Sequence[Path], command: str, argument: str = "--runs"
) -> Iterator[RunsDatabase]:
    """Opens runs as a database.

    Args:
        runs: Run directories, or folders of them.
        command: Who asks, for a message.
        argument: The argument that names the runs, for a message.

    Raises:
        EsperError: If the extra ``sql`` is not installed, or a folder has no run.
    """
    paths = [path for run in runs for path in expand(run, argument)]
    with _open(paths, command) as database:
        for run in database.runs:
            if run.problem is not None:
                echo_error(f"{run.name} is left out: {run.problem}", "warning")
            _warn_of_unread(run)
        yield database


@contextmanager
def open_named_runs(
    runs: Sequence[Path], command: str, *, writable: Path | None = None
) -> Iterator[RunsDatabase]:
    """Opens runs of which each must have events.

    Args:
        runs: Run directories.
        command: Who asks, for a message.
        writable: A folder into which views may be written.

    Raises:
        EsperError: If the extra ``sql`` is not installed, or a run cannot be read.
    """
    if not runs:
        raise OverwatchError("name a run: its directory, as esper-train prints it")
    for run in runs:
        resolve_log(run)
    with _open(runs, command, writable) as database:
        known = dict(database.query("SELECT run, events FROM runs").rows)
        for opened in database.runs:
            if opened.problem is not None:
                raise OverwatchError(f"run '{opened.path}' cannot be read: {opened.problem}")
            if not known[opened.name]:
                raise OverwatchError(f"run '{opened.path}' has no event in its log")
            _warn_of_unread(opened)
        yield database


def expand(run: Path, argument: str) -> list[Path]:
    """Returns a run, or the runs in a folder, the earliest first."""
    check_folder_of(argument, run)
    return [run] if is_run_directory(run) else find_runs(run)[::-1]


@contextmanager
def _open(
    runs: Sequence[Path], command: str, writable: Path | None = None
) -> Iterator[RunsDatabase]:
    require_extra(f"'{command}'", ["duckdb"], extra="sql", distribution="esper-overwatch")
    from esper_karn.analytics.database import open_runs

    with open_runs(runs, user_cache("logs"), writable=writable) as database:
        if database.warning is not None:
            echo_error(database.warning, "warning")
        yield database


def _warn_of_unread(run: OpenRun) -> None:
    if run.unread and run.problem is None:
        echo_error(f"{run.name}: {run.unread} unreadable lines left out", "warning")
