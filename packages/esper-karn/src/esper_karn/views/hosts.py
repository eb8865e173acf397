"""Panels of hosts: all of them in a grid, and the best episodes."""

from __future__ import annotations

from dataclasses import dataclass

from esper_karn.state.run import EnvironmentState, RunState
from esper_karn.views.levels import why_empty
from esper_leyline import SeedReport
from esper_leyline.wire import WIRE_CONFIG, Float

SPARK = 24
"""Points of a host's small picture of its accuracy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotCard:
    """A slot in the grid: stage and blueprint by name, ``None`` without a seed.

    Attributes:
        contribution: Of its seed, in points; ``None`` if not measured.
    """

    slot: str
    stage: str
    blueprint: str | None
    alpha: Float
    contribution: Float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCard:
    """A host in the grid.

    Attributes:
        epoch: Epochs of the episode that are done.
        accuracy: Latest validation accuracy, in percent.
        gain: Accuracy now minus that of the episode's first epoch, in points.
        best_accuracy: Best validation accuracy of the episode, in percent.
        ended: Why the episode is over, ``None`` while it runs.
        last_return: Return of the last episode that ended.
        parameters: Of the host and every seed in it.
        spark: Validation accuracy over the episode, in percent, at most ``SPARK`` points.
    """

    environment: int
    round: int
    epoch: int
    rng_seed: int | None
    device: str | None
    worker: int | None
    accuracy: Float | None
    gain: Float | None
    best_accuracy: Float | None
    val_loss: Float | None
    ended: str | None
    last_return: Float | None
    parameters: int | None
    slots: tuple[SlotCard, ...]
    spark: tuple[Float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """Every host of the run, by environment.

    Attributes:
        empty: Why there is no measurement of any, ``None`` if there is one.
    """

    __pydantic_config__ = WIRE_CONFIG

    hosts: tuple[HostCard, ...]
    empty: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """One of the best episodes.

    Attributes:
        rank: From 1.
        accuracy: Final validation accuracy, in percent.
        episode_return: Undiscounted sum of its rewards.
        blueprints: Of the seeds in its host, in the order of the slots.
        growth: Parameters of the host over those it was built with.
    """

    rank: int
    round: int
    environment: int
    rng_seed: int
    accuracy: Float | None
    best_accuracy: Float | None
    episode_return: Float
    germinated: int
    fossilized: int
    pruned: int
    blueprints: tuple[str, ...]
    parameters: int
    growth: Float | None
    ended: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardView:
    """The best episodes, the best first.

    Attributes:
        empty: Why there is none, ``None`` if there is one.
    """

    __pydantic_config__ = WIRE_CONFIG

    rows: tuple[LeaderboardRow, ...]
    empty: str | None


def hosts(state: RunState) -> Hosts:
    """Selects the grid of hosts."""
    return Hosts(
        hosts=tuple(host_card(each) for each in state.environments),
        empty=why_empty(
            state,
            ["epoch_completed"],
            "no host has finished an epoch yet",
            shown=any(each.episode.host is not None for each in state.environments),
        ),
    )


def host_card(environment: EnvironmentState) -> HostCard:
    """Selects what the grid shows of one host."""
    episode = environment.episode
    host, started = episode.host, episode.started
    means = [bucket.mean for bucket in episode.accuracy.buckets]
    first = next((mean for mean in means if mean is not None), None)
    latest = host.val_accuracy if host else None
    return HostCard(
        environment=environment.index,
        round=episode.round,
        epoch=episode.epochs,
        rng_seed=started.rng_seed if started else None,
        device=started.device if started else None,
        worker=started.worker if started else None,
        accuracy=latest,
        gain=latest - first if latest is not None and first is not None else None,
        best_accuracy=episode.best_accuracy,
        val_loss=host.val_loss if host else None,
        ended=str(episode.ended.value) if episode.ended else None,
        last_return=environment.last_return,
        parameters=host.total_parameters if host else None,
        slots=tuple(slot_card(slot) for slot in episode.slots),
        spark=_spark(means),
    )


def slot_card(slot: SeedReport) -> SlotCard:
    """Selects what the grid shows of one slot."""
    return SlotCard(
        slot=slot.slot,
        stage=slot.stage.name,
        blueprint=None if slot.blueprint is None else str(slot.blueprint),
        alpha=slot.alpha,
        contribution=slot.contribution,
    )


def leaderboard(state: RunState) -> LeaderboardView:
    """Selects the best episodes."""
    return LeaderboardView(
        rows=tuple(
            LeaderboardRow(
                rank=rank,
                round=each.round,
                environment=each.environment,
                rng_seed=each.rng_seed,
                accuracy=each.accuracy,
                best_accuracy=each.best_accuracy,
                episode_return=each.episode_return,
                germinated=each.germinated,
                fossilized=each.fossilized,
                pruned=each.pruned,
                blueprints=each.blueprints,
                parameters=each.parameters,
                growth=each.parameters / each.host_parameters if each.host_parameters else None,
                ended=each.ended.value,
            )
            for rank, each in enumerate(state.leaderboard.episodes, 1)
        ),
        empty=why_empty(
            state,
            ["episode_outcome"],
            "no episode has ended yet",
            shown=bool(state.leaderboard.episodes),
        ),
    )


def _spark(means: list[float | None]) -> tuple[float | None, ...]:
    step = max(1, -(-len(means) // SPARK))
    # Counted from the end, so that the latest epoch is always a point.
    return tuple(None if mean is None else round(mean, 1) for mean in means[::-step][::-1])
