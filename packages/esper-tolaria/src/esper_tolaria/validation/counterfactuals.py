"""Counterfactuals: chooses the sets of seeds to evaluate, and computes contributions from them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from esper_leyline import (
    CounterfactualConfig,
    Measurement,
    SeedMeasurement,
    SeedReport,
    SeedStage,
)
from esper_leyline.config.host import CounterfactualSet
from esper_leyline.reports import ShapleyValues
from esper_tolaria.validation.shapley import (
    EXACT_SEEDS,
    Coalition,
    Order,
    exact_values,
    growing_coalitions,
    mirrored_orders,
    sampled_values,
    subsets,
)

Accuracies = Mapping[Coalition, float]
"""Validation accuracy in percent by the set of seeds that were on."""

NO_SEEDS: Coalition = frozenset()
"""No seed on."""

_BLENDED_STAGES = frozenset({SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The configurations that one validation evaluates; by default only the whole host.

    Attributes:
        active: Slots whose seeds change the output, row-major.
        coalitions: The seeds that are on in each configuration, without duplicates; the first
            has all of them.
        shapley: Whether the coalitions suffice for Shapley values.
        orders: The sampled orders; empty if the values are exact.
    """

    active: tuple[str, ...] = ()
    coalitions: tuple[Coalition, ...] = (NO_SEEDS,)
    shapley: bool = False
    orders: tuple[Order, ...] = ()

    @property
    def disabled(self) -> tuple[Coalition, ...]:
        """The slots to disable in each configuration."""
        all_seeds = frozenset(self.active)
        return tuple(all_seeds - coalition for coalition in self.coalitions)


FULL_ONLY = Comparison()
"""Evaluates the whole host only."""


def add_required(
    configured: CounterfactualSet, required: Collection[Measurement]
) -> CounterfactualSet:
    """Returns what a run has to measure: what is configured, and what its parts require."""
    return configured.model_copy(update={each.value: True for each in required})


def compare(
    reports: Sequence[SeedReport], required: CounterfactualSet, *, last: bool, key: tuple[int, ...]
) -> Comparison:
    """Chooses the configurations of an epoch. There is always one without each active seed.

    Args:
        reports: The host's slots.
        required: What else to measure.
        last: Whether this is the last epoch of the episode, in which Shapley values are measured.
        key: Seeds the sampled orders of the Shapley values.
    """
    active = active_slots(reports)
    if not active:
        return FULL_ONLY
    fossils = {each.slot for each in reports if each.stage is SeedStage.FOSSILIZED}
    shapley = required.shapley and last
    few = len(active) <= EXACT_SEEDS
    orders = () if few or not shapley else mirrored_orders(active, required.shapley_pairs, key=key)
    wanted = [*_every_epoch(active, required, frozenset(active) & fossils)]
    if shapley and few:
        wanted += subsets(active)
    wanted += [coalition for order in orders for coalition in growing_coalitions(order)]
    return Comparison(
        active=active, coalitions=tuple(dict.fromkeys(wanted)), shapley=shapley, orders=orders
    )


def active_slots(reports: Sequence[SeedReport]) -> tuple[str, ...]:
    """Returns the slots whose seeds change the output now: blended in with alpha above zero."""
    return tuple(
        report.slot for report in reports if report.stage in _BLENDED_STAGES and report.alpha > 0
    )


def measure(comparison: Comparison, accuracies: Accuracies) -> tuple[SeedMeasurement, ...]:
    """Returns contribution and interactions of each active seed, row-major."""
    all_seeds = frozenset(comparison.active)
    return tuple(
        SeedMeasurement(
            slot=slot,
            contribution=accuracies[all_seeds] - accuracies[all_seeds - {slot}],
            interaction_sum=_interaction_sum(slot, comparison.active, accuracies),
        )
        for slot in comparison.active
    )


def measure_shapley(comparison: Comparison, accuracies: Accuracies) -> ShapleyValues | None:
    """Returns the seeds' Shapley values, or ``None`` if they were not required."""
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
    """Returns every configuration with its accuracy; empty if no seed is active."""
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
    active: tuple[str, ...], required: CounterfactualSet, fossils: Coalition
) -> Iterator[Coalition]:
    all_seeds = frozenset(active)
    yield all_seeds
    for slot in active:
        yield all_seeds - {slot}
    if required.none or required.pairs:
        yield NO_SEEDS
    if required.solo or required.pairs:
        yield from (frozenset({slot}) for slot in active)
    if required.pairs:
        yield from map(frozenset, combinations(active, 2))
    if required.committed:
        yield fossils


def _interaction_sum(slot: str, active: tuple[str, ...], accuracies: Accuracies) -> float | None:
    """Sums a seed's interactions with the others; ``None`` if one was not measured.

    Without other seeds the sum is 0.
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
    if not {one | other, one, other, NO_SEEDS} <= accuracies.keys():
        return None
    return accuracies[one | other] - accuracies[one] - accuracies[other] + accuracies[NO_SEEDS]
