"""What a picture of runs shows, read from their database."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from esper_karn.analytics.database import RunsDatabase
from esper_karn.comparison.curves import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class QEstimate:
    """Q of one op in one round.

    Attributes:
        mean: In units of the reward; ``NaN`` where it is not finite.
        deviation: Standard deviation over the round's steps; 0 where it is not known.
    """

    round: int
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedEnd:
    """A seed at its end, or at the end of its episode.

    Attributes:
        contribution: In points of accuracy, finite.
        fate: ``fossilized``, ``pruned`` or ``unfinished``.
    """

    blueprint: str
    contribution: float
    fate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A seed in one stage, for consecutive epochs.

    Attributes:
        first: The first epoch, from 1.
        last: The last epoch.
    """

    slot: str
    blueprint: str
    stage: str
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BestEpisode:
    """The episode of a run with the highest final accuracy, and the lives of its seeds.

    Attributes:
        accuracy: Final validation accuracy in percent.
        epochs: Length of the episode.
        stretches: Empty if no seed germinated, or the log holds no epochs.
        pruned: Slot and epoch of each seed that was pruned.
        has_epochs: Whether the log holds epochs.
    """

    round: int
    environment: int
    accuracy: float
    epochs: int
    stretches: tuple[Stretch, ...]
    pruned: tuple[tuple[str, int], ...]
    has_epochs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlottedRun:
    """One run in a picture; collections are empty where the log holds nothing.

    Attributes:
        accuracy: Mean final validation accuracy by round, in percent.
        mean_return: Mean return by round.
        ops: How often each op was chosen, by round.
        q_values: By op.
        best: ``None`` without a finished episode of finite accuracy.
    """

    name: str
    accuracy: tuple[Point, ...] = ()
    mean_return: tuple[Point, ...] = ()
    ops: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    q_values: Mapping[str, tuple[QEstimate, ...]] = field(default_factory=dict)
    seeds: tuple[SeedEnd, ...] = ()
    best: BestEpisode | None = None


_ROUNDS = "SELECT round, mean_accuracy, mean_return, ops FROM rounds WHERE run = ? ORDER BY round"
_Q_VALUES = "SELECT op, round, mean, variance FROM q_values WHERE run = ? ORDER BY op, round"
_SEEDS = """
SELECT blueprint, contribution, fate FROM seeds
WHERE run = ? AND blueprint IS NOT NULL AND isfinite(contribution) ORDER BY time, slot
"""
_BEST = """
SELECT round, environment, val_accuracy, epoch FROM outcomes
WHERE run = ? AND isfinite(val_accuracy) ORDER BY val_accuracy DESC, round, environment LIMIT 1
"""
_STAGES = """
SELECT slot, blueprint, stage, epoch FROM seed_epochs
WHERE run = ? AND round = ? AND environment = ? ORDER BY slot, epoch
"""
_PRUNED = """
SELECT slot, epoch FROM seed_events
WHERE kind = 'seed_pruned' AND run = ? AND round = ? AND environment = ? ORDER BY slot, epoch
"""


def read_run(database: RunsDatabase, name: str) -> PlottedRun:
    """Reads what a picture shows of a run."""
    rounds = list(database.query(_ROUNDS, [name]).rows)
    q_values: dict[str, list[QEstimate]] = {}
    for op, number, mean, variance in database.query(_Q_VALUES, [name]).rows:
        known = mean is not None and math.isfinite(mean)
        spread = variance if variance is not None and math.isfinite(variance) else 0.0
        q_values.setdefault(op, []).append(
            QEstimate(
                round=number,
                mean=mean if known else math.nan,
                deviation=math.sqrt(max(0.0, spread)),
            )
        )
    return PlottedRun(
        name=name,
        accuracy=tuple((number, accuracy) for number, accuracy, _, _ in rounds),
        mean_return=tuple((number, value) for number, _, value, _ in rounds),
        ops={number: ops or {} for number, _, _, ops in rounds},
        q_values={op: tuple(each) for op, each in q_values.items()},
        seeds=tuple(
            SeedEnd(blueprint=blueprint, contribution=contribution, fate=fate)
            for blueprint, contribution, fate in database.query(_SEEDS, [name]).rows
        ),
        best=_best_episode(database, name),
    )


def _best_episode(database: RunsDatabase, name: str) -> BestEpisode | None:
    found = next(database.query(_BEST, [name]).rows, None)
    if found is None:
        return None
    number, environment, accuracy, epochs = found
    where = [name, number, environment]
    stretches: list[Stretch] = []
    for slot, blueprint, stage, epoch in database.query(_STAGES, where).rows:
        before = stretches[-1] if stretches else None
        same = before is not None and (before.slot, before.blueprint, before.stage) == (
            *(slot, blueprint, stage),
        )
        if before is not None and same and before.last == epoch - 1:
            del stretches[-1]
            first = before.first
        else:
            first = epoch
        stretches.append(
            Stretch(slot=slot, blueprint=blueprint, stage=stage, first=first, last=epoch)
        )
    counted = "SELECT count(*) FROM epochs WHERE run = ? AND round = ? AND environment = ?"
    ((recorded,),) = database.query(counted, where).rows
    return BestEpisode(
        round=number,
        environment=environment,
        accuracy=accuracy,
        epochs=epochs or 0,
        stretches=tuple(stretches),
        pruned=tuple(database.query(_PRUNED, where).rows),
        has_epochs=recorded > 0,
    )
