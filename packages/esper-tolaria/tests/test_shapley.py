from __future__ import annotations

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_tolaria.validation.shapley import (
    exact_values,
    growing_coalitions,
    mirrored_orders,
    sampled_values,
    subsets,
)

SLOTS = tuple(f"r0c{column}" for column in range(6))

points = st.floats(0.0, 100.0)


def games(most=4):
    """Slots and an accuracy for every coalition of them."""
    return st.integers(1, most).flatmap(
        lambda seeds: st.fixed_dictionaries(dict.fromkeys(subsets(SLOTS[:seeds]), points)).map(
            lambda accuracies: (SLOTS[:seeds], accuracies)
        )
    )


def by_definition(slots, accuracies):
    """Shapley 1953: the mean gain over all orders of enabling."""
    gains = dict.fromkeys(slots, 0.0)
    orders = list(permutations(slots))
    for order in orders:
        for place, slot in enumerate(order):
            before = frozenset(order[:place])
            gains[slot] += accuracies[before | {slot}] - accuracies[before]
    return {slot: gain / len(orders) for slot, gain in gains.items()}


def test_subsets_are_complete_and_unique():
    expected = [set(chosen) for size in range(4) for chosen in combinations(SLOTS[:3], size)]
    assert list(subsets(SLOTS[:3])) == expected


@given(game=games())
def test_exact_values_are_the_mean_over_all_orders(game):
    assert exact_values(*game) == pytest.approx(by_definition(*game), abs=1e-9)


@given(game=games(), pairs=st.integers(1, 5), key=st.integers(0, 2**40))
def test_values_add_up_to_the_total_gain(game, pairs, key):
    slots, accuracies = game
    gain = accuracies[frozenset(slots)] - accuracies[frozenset()]
    orders = mirrored_orders(slots, pairs, key=(key,))
    assert sum(exact_values(*game).values()) == pytest.approx(gain, abs=1e-9)
    assert sum(sampled_values(orders, accuracies).values()) == pytest.approx(gain, abs=1e-9)


@given(game=games())
def test_sampling_all_orders_is_exact(game):
    slots, accuracies = game
    assert sampled_values(list(permutations(slots)), accuracies) == pytest.approx(
        exact_values(slots, accuracies), abs=1e-9
    )


@given(worth=st.lists(st.floats(-20.0, 20.0), min_size=1, max_size=6), key=st.integers(0, 99))
def test_without_interactions_values_are_the_individual_gains(worth, key):
    each = dict(zip(SLOTS, worth, strict=False))
    slots = tuple(each)
    accuracies = {on: 30.0 + sum(each[slot] for slot in on) for on in subsets(slots)}
    orders = mirrored_orders(slots, 2, key=(key,))
    assert exact_values(slots, accuracies) == pytest.approx(each, abs=1e-9)
    assert sampled_values(orders, accuracies) == pytest.approx(each, abs=1e-9)


@given(pair=st.floats(-20.0, 20.0), key=st.integers(0, 99))
def test_a_mirrored_pair_of_orders_splits_an_interaction_evenly(pair, key):
    slots = SLOTS[:5]
    accuracies = {on: 10.0 + pair * ({"r0c1", "r0c3"} <= on) for on in subsets(slots)}
    expected = dict.fromkeys(slots, 0.0) | {"r0c1": pair / 2, "r0c3": pair / 2}
    orders = mirrored_orders(slots, 1, key=(key,))
    assert sampled_values(orders, accuracies) == pytest.approx(expected, abs=1e-9)


@given(pairs=st.integers(1, 8), key=st.tuples(st.integers(-(2**63), 2**64), st.integers(0, 999)))
def test_orders_come_with_their_reverse_and_are_seeded_by_the_key(pairs, key):
    orders = mirrored_orders(SLOTS, pairs, key=key)
    assert len(orders) == 2 * pairs
    assert all(sorted(order) == list(SLOTS) for order in orders)
    assert all(one == other[::-1] for one, other in zip(orders[::2], orders[1::2], strict=True))
    assert mirrored_orders(SLOTS, pairs, key=key) == orders


def test_other_keys_draw_other_orders():
    drawn = {mirrored_orders(SLOTS, 4, key=(host, epoch)) for host in range(5) for epoch in (9, 10)}
    assert len(drawn) == 10


def test_the_coalitions_of_an_order_go_from_none_to_all():
    assert list(growing_coalitions(("b", "a"))) == [frozenset(), frozenset("b"), frozenset("ab")]
