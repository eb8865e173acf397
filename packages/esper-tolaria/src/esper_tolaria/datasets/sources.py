"""How data sets are loaded and downloaded, and the errors if that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from esper_leyline import DataSpec
from esper_tolaria.datasets.splits import Dataset
from esper_tolaria.errors import TolariaError

TASKS_WITHOUT_DOWNLOAD = ("digits", "mnist1d", "mnist1d_blind", "mnist1d_shuffled", "topics")
"""The tasks whose data is generated, or comes with this package or with Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """How to get one data set.

    Attributes:
        load: Returns the data of a spec, from files under a root folder if it needs any.
        is_here: Whether those files exist.
        fetch: Downloads them; ``None`` if there is nothing to download.
    """

    load: Callable[[DataSpec, Path], Dataset]
    is_here: Callable[[Path], bool] = lambda _: True
    fetch: Callable[[Path], None] | None = None


def missing_data(title: str, *, places: str, reason: str, command: str) -> TolariaError:
    """Returns the error of a failed download, in one line.

    Args:
        title: The data set.
        places: Where it was looked for.
        reason: Why it could not be downloaded.
        command: Downloads it on a machine with internet access.
    """
    why = " ".join(reason.split())
    return TolariaError(
        f"{title} is not in {places}, and downloading it failed ({why}); where there is internet, "
        f"get it with `{command}` and name the folder with --data-root; "
        f"tasks that need no download: {', '.join(TASKS_WITHOUT_DOWNLOAD)}"
    )


def damaged_file(path: Path, reason: str) -> TolariaError:
    """Returns the error of a damaged file."""
    return TolariaError(
        f"'{path}' cannot be read ({reason}); remove it, so that it is downloaded again"
    )
