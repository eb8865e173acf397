"""Finds the log of a run directory."""

from __future__ import annotations

import os
from pathlib import Path

from esper_karn.errors import KarnError
from esper_leyline import LeylineError
from esper_leyline.files.paths import os_reason
from esper_leyline.run_files import CONFIG_FILE, LOG_FILE, POINTER_FILE, locate_log
from esper_leyline.run_lock import probe_lock, started_last


def is_run_directory(path: Path) -> bool:
    """Whether a path is a run directory, also if it cannot be read."""
    return any(_exists(path / name) for name in (CONFIG_FILE, LOG_FILE, POINTER_FILE))


def newest_run(folder: Path) -> Path | None:
    """Returns the run directory of a folder whose trainer started last (``started_last``).

    Returns:
        ``None`` if there is no run, or no such folder.

    Raises:
        KarnError: If the folder cannot be read.
    """
    try:
        runs = [path for path in folder.iterdir() if is_run_directory(path)]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KarnError(f"cannot list runs in '{folder}': {os_reason(error)}") from error
    return started_last({path: probe_lock(path).owner for path in runs})


def resolve_log(run_directory: Path) -> Path:
    """Finds a run's log: ``events.jsonl``, or the path in ``events.path``.

    Returns:
        The log's path; the file need not exist yet.

    Raises:
        KarnError: If the folder is not a run directory, or the pointer cannot be read.
    """
    try:
        run_directory.stat()
    except FileNotFoundError:
        raise KarnError(f"no run '{run_directory}': there is no such folder") from None
    except (OSError, ValueError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise KarnError(f"cannot read run '{run_directory}': {reason}") from error
    if not is_run_directory(run_directory):
        raise KarnError(
            f"'{run_directory}' is not a run directory: it holds neither {CONFIG_FILE} nor "
            f"{LOG_FILE}; name a folder that esper-train made"
        )
    try:
        return locate_log(run_directory)
    except LeylineError as error:
        raise KarnError(str(error)) from error


def _exists(path: Path) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # A folder without permission, or a loop of links.
    return True
