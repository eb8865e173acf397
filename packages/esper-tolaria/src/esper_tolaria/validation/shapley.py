"""Shapley values of a host's seeds: exact for few seeds, from sampled orders for more.

The value of a seed is the accuracy that it adds when it is enabled, averaged over all orders of
enabling the seeds (Shapley, "A value for n-person games", 1953). Sampled orders come in pairs,
each with its reverse, because the errors of the two tend to cancel (antithetic sampling;
Mitchell et al., "Sampling permutations for Shapley value estimation", 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations, pairwise
from math import comb, fsum

import numpy as np

EXACT_SEEDS = 4
"""Up to this number of seeds all subsets are measured."""

Coalition = frozenset[str]
"""The slots whose seeds are enabled; all other seeds are disabled."""

Order = tuple[str, ...]
"""Slots in the order in which their seeds are enabled."""


def subsets(slots: Sequence[str]) -> Iterator[Coalition]:
    """Yields every subset of the slots, smallest first."""
    sizes = range(len(slots) + 1)
    return map(frozenset, chain.from_iterable(combinations(slots, size) for size in sizes))


def mirrored_orders(slots: Sequence[str], pairs: int, *, key: tuple[int, ...]) -> tuple[Order, ...]:
    """Draws ``pairs`` random orders and adds the reverse of each; ``key`` seeds the draw."""
    generator = np.random.default_rng([part % 2**64 for part in key])
    drawn = [tuple(slots[i] for i in generator.permutation(len(slots))) for _ in range(pairs)]
    return tuple(order for each in drawn for order in (each, each[::-1]))


def growing_coalitions(order: Order) -> Iterator[Coalition]:
    """Yields the coalitions that arise when seeds are enabled in an order, from none to all."""
    return (frozenset(order[:size]) for size in range(len(order) + 1))


def exact_values(slots: Sequence[str], accuracies: Mapping[Coalition, float]) -> dict[str, float]:
    """Returns the exact Shapley value of each seed in points.

    phi_i = sum over coalitions S without i of |S|! (n - |S| - 1)! / n! * (f(S + i) - f(S))

    Args:
        slots: The slots of the n seeds.
        accuracies: f, the accuracy in percent of every coalition of them.
    """
    return {slot: fsum(_shares(slot, slots, accuracies)) for slot in slots}


def sampled_values(
    orders: Sequence[Order], accuracies: Mapping[Coalition, float]
) -> dict[str, float]:
    """Returns the mean gain of each seed in points over sampled orders.

    Args:
        orders: At least one; each has all slots.
        accuracies: In percent, of every coalition that arises in the orders.
    """
    gains: dict[str, list[float]] = {slot: [] for slot in orders[0]}
    for order in orders:
        for slot, (before, after) in zip(order, pairwise(growing_coalitions(order)), strict=True):
            gains[slot].append(accuracies[after] - accuracies[before])
    return {slot: fsum(gained) / len(orders) for slot, gained in gains.items()}


def _shares(
    slot: str, slots: Sequence[str], accuracies: Mapping[Coalition, float]
) -> Iterator[float]:
    """Yields a seed's gain for each set of other seeds, weighted by its share of all orders."""
    others = [other for other in slots if other != slot]
    for coalition in subsets(others):
        orders = len(slots) * comb(len(others), len(coalition))
        yield (accuracies[coalition | {slot}] - accuracies[coalition]) / orders
