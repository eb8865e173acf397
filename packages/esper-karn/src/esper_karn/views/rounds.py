"""One finished round as an interface shows it."""

from __future__ import annotations

from dataclasses import dataclass

from esper_karn.state.rounds import RoundStats
from esper_karn.state.run import RunState
from esper_karn.views.progress import progress
from esper_leyline.events import PPOUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundView:
    """A finished round and the update that learned from it.

    Attributes:
        update: ``None`` where the run has no policy, or the update is not known.
        rounds_total: Rounds of the whole run, ``None`` if not known.
        eta: Seconds until the run's end, ``None`` if not known or ended.
    """

    stats: RoundStats
    update: PPOUpdate | None
    rounds_total: int | None
    eta: float | None


def round_view(state: RunState, stats: RoundStats) -> RoundView:
    """Selects one finished round; the latest update is part of it if it is that round's."""
    latest = state.update
    update = latest.payload if latest and latest.round == stats.last else None
    return RoundView(
        stats=stats,
        update=update,
        rounds_total=state.started.config.n_episodes if state.started else None,
        eta=None if state.ended else progress(state).eta,
    )
