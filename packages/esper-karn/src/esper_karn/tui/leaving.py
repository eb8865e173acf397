"""Why Sanctum was left."""

from __future__ import annotations

from enum import IntEnum


class Leaving(IntEnum):
    """Why Sanctum was left; the exit code of its process."""

    ENDED = 0
    """The run has ended."""
    QUIT = 3
    """The user left it, or the process that started it is gone; the run goes on."""
