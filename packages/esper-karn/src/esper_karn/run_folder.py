"""Where a run directory keeps its parts."""

from __future__ import annotations

from pathlib import Path

from esper_karn.errors import KarnError, os_reason

CONFIG_FILE = "config.json"
LOG_FILE = "events.jsonl"
POINTER_FILE = "events.path"
SUMMARY_FILE = "summary.json"


def is_run(path: Path) -> bool:
    """Whether a folder looks like a run directory."""
    return any((path / name).is_file() for name in (CONFIG_FILE, LOG_FILE, POINTER_FILE))


def resolve_log(run_directory: Path) -> Path:
    """Finds a run's log: ``events.jsonl``, or where ``events.path`` says it was sent.

    Returns:
        The log's path; the file may be missing, or still to come.

    Raises:
        KarnError: If the folder is not a run directory, or the pointer cannot be read.
    """
    if not run_directory.exists():
        raise KarnError(f"no run '{run_directory}': there is no such folder")
    if not is_run(run_directory):
        raise KarnError(
            f"'{run_directory}' is not a run directory: it holds neither {CONFIG_FILE} nor "
            f"{LOG_FILE}; name a folder that esper-train made"
        )
    pointer = run_directory / POINTER_FILE
    try:
        if pointer.is_file():
            return run_directory / pointer.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise KarnError(f"cannot read '{pointer}': {os_reason(error)}") from error
    return run_directory / LOG_FILE
