"""The errors of data that cannot be downloaded or read."""

from __future__ import annotations

from pathlib import Path

from esper_tolaria.errors import MissingDataError, TolariaError


def missing_data(title: str, *, places: str, reason: str, command: str) -> MissingDataError:
    """Returns the error of a failed download, in one line.

    Args:
        title: The data set.
        places: The folders that were searched.
        reason: Why it could not be downloaded.
        command: Downloads it on a machine with internet access.
    """
    why = " ".join(reason.split())
    return MissingDataError(
        f"{title} is not in {places}, and downloading it failed ({why}); where there is internet, "
        f"get it with `{command}` and name the folder with --data-root"
    )


def damaged_file(path: Path, reason: str) -> TolariaError:
    """Returns the error of a damaged file."""
    return TolariaError(
        f"'{path}' cannot be read ({reason}); remove it, so that it is downloaded again"
    )
