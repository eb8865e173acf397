"""Where programs keep what they can make again."""

from __future__ import annotations

import os
from pathlib import Path

from esper_leyline.errors import LeylineError


def user_cache(name: str) -> Path:
    """Returns a folder for a cache: below ``XDG_CACHE_HOME``, or ``~/.cache``.

    Args:
        name: What it holds, such as ``logs`` (as tables), ``snapshots`` (of runs) or ``data``.

    Raises:
        LeylineError: If there is no home directory.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        caches = Path(named) if named.startswith("/") else Path.home() / ".cache"
    except RuntimeError as error:
        raise LeylineError(
            "there is no home directory for the cache; set XDG_CACHE_HOME to a folder"
        ) from error
    return caches / "esper" / name
