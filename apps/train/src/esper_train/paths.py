"""Checks the paths of flags before anything is created."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from esper_leyline import LeylineError
from esper_leyline.files.paths import check_file, check_folder
from esper_train.errors import TrainError
from esper_train.settings.options import TelemetryOptions


def check_places(telemetry: TelemetryOptions) -> None:
    """Checks where a run writes its directory and its log.

    Raises:
        TrainError: If a folder or the log is something else, such as a named pipe.
    """
    check_folder_of("--runs", telemetry.runs)
    if telemetry.telemetry_dir is not None:
        check_folder_of("--telemetry-dir", telemetry.telemetry_dir)
    if telemetry.telemetry_file is not None:
        check_file_of("--telemetry-file", telemetry.telemetry_file)


def check_folder_of(flag: str, path: Path) -> None:
    """Checks that a flag names a folder, or nothing yet.

    Raises:
        TrainError: If it names something else.
    """
    with _naming(flag, path):
        check_folder(path)


def check_file_of(flag: str, path: Path) -> bool:
    """Checks that a flag names a regular file, or nothing yet.

    Returns:
        Whether there is a file.

    Raises:
        TrainError: If it names something else.
    """
    with _naming(flag, path):
        return check_file(path)


def check_writable(flag: str, path: Path) -> None:
    """Checks that a new file can be created at a flag's path; creates nothing.

    Raises:
        TrainError: If it cannot.
    """
    with _naming(flag, path):
        folder = next(each for each in path.absolute().parents if each.exists())
        with TemporaryFile(dir=folder):
            pass


@contextmanager
def _naming(flag: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainError(f"{flag} {path} cannot be used: {error.strerror}") from None
    except LeylineError as error:
        raise TrainError(f"{flag} {path} {error}") from None
