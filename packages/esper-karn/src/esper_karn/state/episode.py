"""One episode of one host: its measurements, and what its slots went through."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from esper_karn.state.series import Series
from esper_karn.state.stamped import Stamped
from esper_leyline import EpisodeEnd, SeedReport, SeedStage
from esper_leyline.events import CounterfactualMatrix, EpisodeStarted
from esper_leyline.reports import HostReport, ShapleyValues
from esper_leyline.wire import Float

ACCURACY_CAPACITY = 256
"""Buckets of an episode's accuracy."""

ALPHA_CAPACITY = 64
"""Buckets of a slot's alpha."""

LIFELINES = 64
"""Slots of an episode that are followed; a host has no more."""

COMPONENTS = 16
"""Reward components that are added up; a reward has at most 7."""

SPANS = 64
"""Largest number of stage spans kept of a slot, the latest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpan:
    """A stay of a slot in one stage; it ends where the slot's next span starts.

    Attributes:
        start: The first epoch in that stage.
        blueprint: Of the seed in the slot, ``None`` without one.
        contribution: The seed's contribution when it entered the stage, in points; ``None``
            if not measured.
    """

    stage: SeedStage
    start: int
    blueprint: str | None = None
    contribution: Float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifeline:
    """What one slot went through in an episode.

    Attributes:
        spans: In order, at most ``SPANS``; the slot was dormant before the first one.
        alpha: Alpha by epoch, of seeds that may still be pruned.
    """

    slot: str
    spans: tuple[StageSpan, ...] = ()
    alpha: Series = field(default=Series(capacity=ALPHA_CAPACITY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """An episode of one host.

    Attributes:
        round: Number of its round, from 1.
        started: Random seed and device of the host.
        epochs: Epochs done.
        ended: Why it is over, ``None`` while it is running.
        host: The host after the latest epoch, ``None`` before the first.
        slots: The slots after the latest event, so newer than ``host.seeds`` between epochs.
        best_accuracy: Best validation accuracy, in percent.
        accuracy: Validation accuracy by epoch, in percent.
        lifelines: One per slot.
        counterfactuals: The latest counterfactual accuracies.
        shapley: The latest Shapley values.
        rewards: Sum of the rewards so far, by component.
        germinated: Seeds germinated; likewise ``fossilized`` and ``pruned``.
    """

    round: int = 0
    started: EpisodeStarted | None = None
    epochs: int = 0
    ended: EpisodeEnd | None = None
    host: HostReport | None = None
    slots: tuple[SeedReport, ...] = ()
    best_accuracy: Float | None = None
    accuracy: Series = field(default=Series(capacity=ACCURACY_CAPACITY))
    lifelines: tuple[Lifeline, ...] = ()
    counterfactuals: Stamped[CounterfactualMatrix] | None = None
    shapley: Stamped[ShapleyValues] | None = None
    rewards: Mapping[str, Float] = field(default_factory=dict)
    germinated: int = 0
    fossilized: int = 0
    pruned: int = 0


def better_episode(best: Episode | None, episode: Episode) -> Episode:
    """Returns the episode with the higher final accuracy, the earlier one if they are equal."""
    if best is None:
        return episode
    return episode if _final_accuracy(episode) > _final_accuracy(best) else best


def _final_accuracy(episode: Episode) -> float:
    latest = episode.accuracy.latest
    return latest if latest is not None and math.isfinite(latest) else -math.inf
