"""What a screen says where a run's log lacks what it would show."""

from __future__ import annotations

from collections.abc import Collection

from esper_karn.state.run import RunState
from esper_leyline.events import kinds_written, least_level


def level_needed(state: RunState, kinds: Collection[str]) -> str | None:
    """Says which telemetry level a part of a screen needs.

    Args:
        state: The run.
        kinds: The kinds of event that the part shows.

    Returns:
        For example ``needs --telemetry-level normal``; ``None`` if the run writes all of these
        kinds, or before its first event.
    """
    if state.started is None or kinds_written(state.started.config.telemetry).issuperset(kinds):
        return None
    return f"needs --telemetry-level {least_level(kinds)}"


def why_empty(state: RunState, kinds: Collection[str], waiting: str, *, shown: bool) -> str | None:
    """Says why a panel has nothing to show.

    Args:
        state: The run.
        kinds: The kinds of event that the panel shows.
        waiting: What to say where they are written, and none has come yet.
        shown: Whether the panel has something to show.

    Returns:
        One line, ``None`` if the panel is not empty.
    """
    return None if shown else level_needed(state, kinds) or waiting
