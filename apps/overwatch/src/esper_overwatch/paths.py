"""Checks the paths of flags before anything is created."""

from __future__ import annotations

from pathlib import Path

from esper_leyline import LeylineError
from esper_leyline.files.paths import check_folder
from esper_overwatch.errors import OverwatchError


def check_folder_of(flag: str, path: Path) -> None:
    """Checks that a flag names a folder, or nothing yet.

    Raises:
        OverwatchError: If it names something else.
    """
    try:
        check_folder(path)
    except OSError as error:
        raise OverwatchError(f"{flag} {path} cannot be used: {error.strerror}") from None
    except LeylineError as error:
        raise OverwatchError(f"{flag} {path} {error}") from None
