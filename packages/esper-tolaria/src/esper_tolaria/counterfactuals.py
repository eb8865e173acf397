"""What-if hosts: which sets of seeds an epoch compares, and what the comparison says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from esper_leyline import (
    CounterfactualConfig,
    CounterfactualSet,
    SeedMeasurement,
    SeedReport,
    SeedStage,
    ShapleyValues,
    TrainingConfig,
)
from esper_leyline.events import kinds_written
from esper_tolaria.shapley import (
    EXACT_SEEDS,
    Coalition,
    Order,
    exact_values,
    joining,
    mirrored_orders,
    sampled_values,
    subsets,
)

Accuracies = Mapping[Coalition, float]
"""Validation accuracy in percent by the seeds that were on."""

NOBODY: Coalition = frozenset()
"""No seed on."""

_BLENDED_STAGES = frozenset({SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The hosts that one validation compares; by default the whole host alone.

    Attributes:
        active: Slots whose seeds change the output, row-major.
        coalitions: The seeds that are on in each host; all of them first, none twice.
        shapley: Whether the coalitions are those that Shapley values take.
        orders: The orders sampled for them; none where all orders count.
    """

    active: tuple[str, ...] = ()
    coalitions: tuple[Coalition, ...] = (NOBODY,)
    shapley: bool = False
    orders: tuple[Order, ...] = ()

    @property
    def disabled(self) -> tuple[Coalition, ...]:
        """The slots to switch off in each host."""
        everybody = frozenset(self.active)
        return tuple(everybody - coalition for coalition in self.coalitions)


WHOLE = Comparison()
"""Compares nothing."""


def requested(config: TrainingConfig) -> CounterfactualSet:
    """Returns what a run measures: what it was told to, and what its own parts read.

    Some rewards pay for what fossils achieve alone; Shapley values are measured where
    telemetry writes them.
    """
    told = config.counterfactuals
    return told.model_copy(
        update={
            "committed": told.committed or config.reward.reads_committed,
            "shapley": told.shapley or "shapley_measured" in kinds_written(config.telemetry),
        }
    )


def compare(
    reports: Sequence[SeedReport], asked: CounterfactualSet, *, last: bool, key: tuple[int, ...]
) -> Comparison:
    """Chooses an epoch's what-if hosts, none twice. Each active seed is left out in any case.

    Args:
        reports: The host's seeds as they stand.
        asked: What to measure besides.
        last: Whether the episode ends with this epoch, so that Shapley values are due.
        key: Decides which orders are drawn for these.
    """
    active = active_slots(reports)
    if not active:
        return WHOLE
    fossils = {each.slot for each in reports if each.stage is SeedStage.FOSSILIZED}
    shapley = asked.shapley and last
    few = len(active) <= EXACT_SEEDS
    orders = () if few or not shapley else mirrored_orders(active, asked.shapley_pairs, key=key)
    wanted = [*_every_epoch(active, asked, frozenset(active) & fossils)]
    if shapley and few:
        wanted += subsets(active)
    wanted += [coalition for order in orders for coalition in joining(order)]
    return Comparison(
        active=active, coalitions=tuple(dict.fromkeys(wanted)), shapley=shapley, orders=orders
    )


def active_slots(reports: Sequence[SeedReport]) -> tuple[str, ...]:
    """Returns the slots whose seeds change the output now: blended in with alpha above zero."""
    return tuple(
        report.slot for report in reports if report.stage in _BLENDED_STAGES and report.alpha > 0
    )


def measure(comparison: Comparison, accuracies: Accuracies) -> tuple[SeedMeasurement, ...]:
    """Returns what the comparison says of each active seed, row-major."""
    everybody = frozenset(comparison.active)
    return tuple(
        SeedMeasurement(
            slot=slot,
            contribution=accuracies[everybody] - accuracies[everybody - {slot}],
            interaction_sum=_interaction_sum(slot, comparison.active, accuracies),
        )
        for slot in comparison.active
    )


def measure_shapley(comparison: Comparison, accuracies: Accuracies) -> ShapleyValues | None:
    """Returns the seeds' Shapley values, ``None`` where they were not asked for."""
    if not comparison.shapley:
        return None
    if not comparison.orders:
        return ShapleyValues(values=exact_values(comparison.active, accuracies), exact=True)
    return ShapleyValues(
        values=sampled_values(comparison.orders, accuracies),
        exact=False,
        permutations=len(comparison.orders),
    )


def describe(comparison: Comparison, accuracies: Accuracies) -> tuple[CounterfactualConfig, ...]:
    """Returns every host that was compared; none where no seed is active."""
    if not comparison.active:
        return ()
    return tuple(
        CounterfactualConfig(
            active=tuple(slot for slot in comparison.active if slot in coalition),
            accuracy=accuracies[coalition],
        )
        for coalition in comparison.coalitions
    )


def _every_epoch(
    active: tuple[str, ...], asked: CounterfactualSet, fossils: Coalition
) -> Iterator[Coalition]:
    everybody = frozenset(active)
    yield everybody
    for slot in active:
        yield everybody - {slot}
    if asked.none or asked.pairs:
        yield NOBODY
    if asked.solo or asked.pairs:
        yield from (frozenset({slot}) for slot in active)
    if asked.pairs:
        yield from map(frozenset, combinations(active, 2))
    if asked.committed:
        yield fossils


def _interaction_sum(slot: str, active: tuple[str, ...], accuracies: Accuracies) -> float | None:
    """Sums a seed's interactions with the others; ``None`` where one was not measured.

    Of one seed alone it is 0, the sum over no others.
    """
    total = 0.0
    for pair in combinations(active, 2):
        if slot in pair:
            interaction = _interaction(*pair, accuracies)
            if interaction is None:
                return None
            total += interaction
    return total


def _interaction(first: str, second: str, accuracies: Accuracies) -> float | None:
    """Returns I_ij = f(ij) - f(i) - f(j) + f(none), with every other seed off."""
    one, other = frozenset({first}), frozenset({second})
    if not {one | other, one, other, NOBODY} <= accuracies.keys():
        return None
    return accuracies[one | other] - accuracies[one] - accuracies[other] + accuracies[NOBODY]
