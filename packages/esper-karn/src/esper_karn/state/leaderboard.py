"""The best episodes of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from esper_karn.state.episode import Episode
from esper_leyline import EpisodeEnd
from esper_leyline.events import EpisodeOutcome, Event
from esper_leyline.wire import Float

BEST_EPISODES = 20
"""Episodes that are kept, the best ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedEpisode:
    """One finished episode.

    Attributes:
        sequence: Sequence number of its last event.
        rng_seed: Random seed of its host.
        accuracy: Final validation accuracy, in percent.
        best_accuracy: Best validation accuracy, in percent.
        episode_return: Undiscounted sum of its rewards.
        blueprints: Blueprints of its fossilized and live seeds, in the order of the slots.
        parameters: Parameters of the host and every seed in it.
        host_parameters: Parameters that the host was built with.
    """

    sequence: int
    round: int
    environment: int
    rng_seed: int
    epochs: int
    ended: EpisodeEnd
    accuracy: Float | None
    best_accuracy: Float | None
    episode_return: Float
    germinated: int
    fossilized: int
    pruned: int
    blueprints: tuple[str, ...]
    parameters: int
    host_parameters: int


def rank(event: Event, outcome: EpisodeOutcome, episode: Episode) -> RankedEpisode:
    """Returns a finished episode as an entry of the leaderboard."""
    host = outcome.host
    return RankedEpisode(
        sequence=event.sequence,
        round=event.round or 0,
        environment=event.environment or 0,
        rng_seed=outcome.rng_seed,
        epochs=episode.epochs,
        ended=outcome.ended,
        accuracy=host.val_accuracy,
        best_accuracy=outcome.best_val_accuracy,
        episode_return=outcome.episode_return,
        germinated=outcome.germinated,
        fossilized=outcome.fossilized,
        pruned=outcome.pruned,
        blueprints=tuple(str(seed.blueprint) for seed in host.seeds if seed.occupied),
        parameters=host.total_parameters,
        host_parameters=host.host_parameters,
    )


def with_ranked(
    board: tuple[RankedEpisode, ...], entry: RankedEpisode
) -> tuple[RankedEpisode, ...]:
    """Returns the best episodes with one more, by final accuracy, the earlier one if equal."""
    return tuple(sorted((*board, entry), key=_order)[:BEST_EPISODES])


def _order(entry: RankedEpisode) -> tuple[float, int]:
    value = entry.accuracy
    finite = value is not None and math.isfinite(value)
    return -value if finite and value is not None else math.inf, entry.sequence
