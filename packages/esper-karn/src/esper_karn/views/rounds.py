"""Finished rounds: one with its update, and the table of all."""

from __future__ import annotations

from dataclasses import dataclass

from esper_karn.state.rounds import RoundStats
from esper_karn.state.run import RunState
from esper_karn.views.levels import why_empty
from esper_karn.views.progress import progress
from esper_leyline.events import PPOUpdate
from esper_leyline.wire import WIRE_CONFIG, Float

MIDDLE_ROWS = 5
"""Rows between the first ten rounds and the last ten."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRow:
    """A finished round, or several consecutive ones merged.

    Attributes:
        first: Number of the first round; ``last`` that of the last one.
        mean_return: Mean return of an episode.
        mean_accuracy: Mean final validation accuracy, in percent.
        best_accuracy: Best final validation accuracy, in percent.
        ops: How often each op was chosen, by name.
        grown_parameters: Mean parameters of fossilized seeds per host.
        seconds: Wall time.
    """

    first: int
    last: int
    mean_return: Float | None
    mean_accuracy: Float | None
    best_accuracy: Float | None
    ops: dict[str, int]
    germinated: int
    fossilized: int
    pruned: int
    grown_parameters: Float | None
    rollbacks: int
    rollback_causes: dict[str, int]
    seconds: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """The rounds of a run: the first ones, merged ones between, and the last ones.

    Attributes:
        ops: The ops that were ever chosen, in the order of the action space.
        total: All rounds merged, ``None`` without one.
        empty: Why there is no round, ``None`` if there is one.
    """

    __pydantic_config__ = WIRE_CONFIG

    rows: tuple[RoundRow, ...]
    ops: tuple[str, ...]
    total: RoundRow | None
    empty: str | None


def rounds(state: RunState) -> Rounds:
    """Selects the table of rounds."""
    report = state.report
    total = report.rounds.total
    return Rounds(
        rows=tuple(_row(each) for each in report.rounds.condense(MIDDLE_ROWS)),
        ops=report.ops,
        total=None if total is None else _row(total),
        empty=why_empty(
            state, ["round_completed"], "no round has ended yet", shown=total is not None
        ),
    )


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


def _row(stats: RoundStats) -> RoundRow:
    return RoundRow(
        first=stats.first,
        last=stats.last,
        mean_return=stats.mean_return,
        mean_accuracy=stats.mean_accuracy,
        best_accuracy=stats.best_accuracy,
        ops=dict(stats.ops),
        germinated=stats.germinated,
        fossilized=stats.fossilized,
        pruned=stats.pruned,
        grown_parameters=stats.grown_parameters,
        rollbacks=stats.rollbacks,
        rollback_causes=dict(stats.rollback_causes),
        seconds=stats.seconds,
    )
