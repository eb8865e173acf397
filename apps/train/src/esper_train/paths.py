"""Checks the paths of flags before anything is created."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from esper_leyline.files.paths import check_file_of, check_folder_of, name_flag
from esper_train.settings.options import TelemetryOptions


def check_places(telemetry: TelemetryOptions) -> None:
    """Checks where a run writes its directory and its log.

    Raises:
        LeylineError: If a folder or the log is something else, such as a named pipe.
    """
    check_folder_of("--runs", telemetry.runs)
    if telemetry.telemetry_dir is not None:
        check_folder_of("--telemetry-dir", telemetry.telemetry_dir)
    if telemetry.telemetry_file is not None:
        check_file_of("--telemetry-file", telemetry.telemetry_file)


def check_writable(flag: str, path: Path) -> None:
    """Checks that a new file can be created at a flag's path; creates nothing.

    Raises:
        LeylineError: If it cannot.
    """
    with name_flag(flag, path):
        folder = next(each for each in path.absolute().parents if each.exists())
        with TemporaryFile(dir=folder):
            pass
