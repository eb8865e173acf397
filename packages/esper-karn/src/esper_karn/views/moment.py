"""Which moment of a run is shown, and what is known beyond it."""

from __future__ import annotations

from dataclasses import dataclass

from esper_karn.state.run import RunState
from esper_leyline.wire import WIRE_CONFIG, Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The moment of a run that a view shows, and the range to move in.

    Attributes:
        sequence: Sequence number of the latest event that is shown; -1 before the first.
        latest: Sequence number of the latest event of the log.
        held_back: Events that a paused or replayed view does not show.
        live: Whether the view shows all that is known.
        round: The current round of the moment; likewise ``rounds_latest`` of the log.
        wall_time: Unix time of the moment, ``None`` before the first event.
        first_wall: Unix time of the run's first event.
        last_wall: Unix time of its latest event.
    """

    __pydantic_config__ = WIRE_CONFIG

    sequence: int
    latest: int
    held_back: int
    live: bool
    round: int
    rounds_latest: int
    wall_time: Float | None
    first_wall: Float | None
    last_wall: Float | None


def moment(state: RunState, latest: RunState) -> Moment:
    """Selects the moment of a view.

    Args:
        state: The run as it is shown.
        latest: The run as it is known.
    """
    shown, known = state.cursor, latest.cursor
    return Moment(
        sequence=shown.sequence,
        latest=known.sequence,
        held_back=max(0, known.sequence - shown.sequence),
        live=shown.sequence >= known.sequence,
        round=_round(state),
        rounds_latest=_round(latest),
        wall_time=shown.last_wall,
        first_wall=known.first_wall,
        last_wall=known.last_wall,
    )


def _round(state: RunState) -> int:
    done = state.report.rounds_done
    return done if state.ended else done + 1
