"""Shapley values of a host's seeds: exact for a few, from sampled orders for more.

A seed's value is what it adds to accuracy when it joins, averaged over the orders in which
the seeds may join (Shapley, "A value for n-person games", 1953). Sampled orders come in
pairs, each with its mirror image, in which a seed that joined early joins late: the errors
of the two tend to cancel (Mitchell et al., "Sampling permutations for Shapley value
estimation", 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations, pairwise
from math import comb, fsum

import numpy as np

EXACT_SEEDS = 4
"""Seeds up to which all subsets are measured."""

Coalition = frozenset[str]
"""Slots whose seeds are on, all other seeds being off."""

Order = tuple[str, ...]
"""Slots in the order in which their seeds join."""


def subsets(slots: Sequence[str]) -> Iterator[Coalition]:
    """Yields every coalition of some slots, the smallest first."""
    sizes = range(len(slots) + 1)
    return map(frozenset, chain.from_iterable(combinations(slots, size) for size in sizes))


def mirrored_orders(slots: Sequence[str], pairs: int, *, key: tuple[int, ...]) -> tuple[Order, ...]:
    """Draws ``pairs`` random orders and adds the mirror image of each; ``key`` seeds them."""
    generator = np.random.default_rng([part % 2**64 for part in key])
    drawn = [tuple(slots[i] for i in generator.permutation(len(slots))) for _ in range(pairs)]
    return tuple(order for each in drawn for order in (each, each[::-1]))


def joining(order: Order) -> Iterator[Coalition]:
    """Yields the coalitions that an order passes through, from nobody to everybody."""
    return (frozenset(order[:size]) for size in range(len(order) + 1))


def exact_values(slots: Sequence[str], accuracies: Mapping[Coalition, float]) -> dict[str, float]:
    """Returns each seed's value in points, from the accuracies of all coalitions."""
    return {slot: fsum(_shares(slot, slots, accuracies)) for slot in slots}


def sampled_values(
    orders: Sequence[Order], accuracies: Mapping[Coalition, float]
) -> dict[str, float]:
    """Returns each seed's mean gain in points, over orders whose coalitions were measured."""
    gains: dict[str, list[float]] = {slot: [] for slot in orders[0]}
    for order in orders:
        for slot, (before, after) in zip(order, pairwise(joining(order)), strict=True):
            gains[slot].append(accuracies[after] - accuracies[before])
    return {slot: fsum(gained) / len(orders) for slot, gained in gains.items()}


def _shares(
    slot: str, slots: Sequence[str], accuracies: Mapping[Coalition, float]
) -> Iterator[float]:
    """Yields a seed's gain in each company, times the share of orders with that company."""
    others = [other for other in slots if other != slot]
    for company in subsets(others):
        orders = len(slots) * comb(len(others), len(company))
        yield (accuracies[company | {slot}] - accuracies[company]) / orders
