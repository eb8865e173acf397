from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import Measurement, SeedReport, SeedStage
from esper_leyline.config.host import CounterfactualSet
from esper_tolaria.validation.counterfactuals import (
    FULL_ONLY,
    active_slots,
    add_required,
    compare,
    describe,
    measure,
    measure_shapley,
)
from esper_tolaria.validation.shapley import subsets

SLOTS = tuple(f"r0c{column}" for column in range(6))
NO_SEEDS: frozenset[str] = frozenset()
NOTHING_MORE = CounterfactualSet(none=False, pairs=False)
EVERYTHING = CounterfactualSet(solo=True, committed=True, shapley=True)


def seeds(count, fossils=()):
    return [
        SeedReport(
            slot=slot,
            stage=SeedStage.FOSSILIZED if slot in fossils else SeedStage.HOLDING,
            alpha=1.0,
        )
        for slot in SLOTS[:count]
    ]


def sets(*chosen):
    return {frozenset(each) for each in chosen}


def comparison_of(count, asked, *, last=False, key=(1, 2), fossils=()):
    return compare(seeds(count, fossils), asked, last=last, key=key)


asked_for = st.builds(
    CounterfactualSet,
    none=st.booleans(),
    solo=st.booleans(),
    pairs=st.booleans(),
    committed=st.booleans(),
    shapley=st.booleans(),
    shapley_pairs=st.integers(1, 4),
)
fossil_sets = st.frozensets(st.sampled_from(SLOTS))


@given(count=st.integers(1, 6), asked=asked_for, last=st.booleans(), fossils=fossil_sets)
def test_all_seeds_come_first_then_each_left_out_without_duplicates(count, asked, last, fossils):
    found = comparison_of(count, asked, last=last, fossils=fossils)
    all_seeds = frozenset(SLOTS[:count])
    assert found.active == SLOTS[:count]
    assert found.coalitions[0] == all_seeds
    assert len(set(found.coalitions)) == len(found.coalitions)
    assert {all_seeds - {slot} for slot in all_seeds} <= set(found.coalitions)
    assert found.disabled[0] == NO_SEEDS
    for on, off in zip(found.coalitions, found.disabled, strict=True):
        assert on | off == all_seeds
        assert not on & off


@given(count=st.integers(1, 6), fossils=fossil_sets)
def test_only_required_configurations_are_measured(count, fossils):
    found = comparison_of(count, NOTHING_MORE, last=True, fossils=fossils)
    assert len(found.coalitions) == count + 1
    assert not found.shapley


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"none": True}, sets("")),
        ({"solo": True}, {frozenset({slot}) for slot in SLOTS[:4]}),
        ({"committed": True}, sets(["r0c1", "r0c2"])),
        (
            {"pairs": True},
            sets("", *([slot] for slot in SLOTS[:4]), *combinations(SLOTS[:4], 2)),
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_setting_adds_its_own_configurations(asked, expected):
    fossils = ("r0c1", "r0c2")
    bare = comparison_of(4, NOTHING_MORE, fossils=fossils)
    found = comparison_of(4, NOTHING_MORE.model_copy(update=asked), fossils=fossils)
    assert set(found.coalitions) == set(bare.coalitions) | expected


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_default_counts_of_configurations_by_number_of_seeds(count):
    assert set(comparison_of(count, CounterfactualSet()).coalitions) == set(subsets(SLOTS[:count]))


def test_shapley_values_are_measured_on_the_last_epoch_only():
    asked = NOTHING_MORE.model_copy(update={"shapley": True})
    early, late = comparison_of(4, asked), comparison_of(4, asked, last=True)
    assert not early.shapley
    assert len(early.coalitions) == 5
    assert late.shapley
    assert late.orders == ()
    assert set(late.coalitions) == set(subsets(SLOTS[:4]))


def test_with_more_than_four_seeds_orders_are_sampled():
    asked = NOTHING_MORE.model_copy(update={"shapley": True, "shapley_pairs": 2})
    found = comparison_of(6, asked, last=True)
    passed = {frozenset(order[:size]) for order in found.orders for size in range(7)}
    assert len(found.orders) == 4
    assert passed <= set(found.coalitions)
    assert len(found.coalitions) <= 7 + 4 * 5
    assert comparison_of(6, asked, last=True, key=(1, 3)).orders != found.orders
    values = measure_shapley(found, dict.fromkeys(found.coalitions, 50.0))
    assert (values.exact, values.permutations) == (False, 4)
    assert values.values == dict.fromkeys(SLOTS, 0.0)


def test_without_active_seeds_only_the_whole_host_is_measured():
    dormant = [SeedReport(slot="r0c0"), SeedReport(slot="r0c1", stage=SeedStage.TRAINING)]
    found = compare(dormant, EVERYTHING, last=True, key=(1, 2))
    assert found == FULL_ONLY
    assert found.disabled == (NO_SEEDS,)
    accuracies = {NO_SEEDS: 40.0}
    assert measure(found, accuracies) == ()
    assert describe(found, accuracies) == ()
    assert measure_shapley(found, accuracies) is None


@pytest.mark.parametrize("stage", SeedStage)
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_only_blended_seeds_with_some_alpha_are_active(stage, alpha):
    blended = {SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED}
    expected = ("r0c0",) if stage in blended and alpha > 0 else ()
    assert active_slots([SeedReport(slot="r0c0", stage=stage, alpha=alpha)]) == expected


@given(data=st.data(), count=st.integers(1, 5))
def test_interactions_follow_the_formula(data, count):
    found = comparison_of(count, CounterfactualSet())
    f = {on: data.draw(st.floats(0, 100)) for on in found.coalitions}
    for measured in measure(found, f):
        i = {measured.slot}
        others = set(found.active) - i
        expected = sum(f[frozenset(i | {j})] - f[frozenset(i)] - f[frozenset({j})] for j in others)
        expected += len(others) * f[NO_SEEDS]
        assert measured.interaction_sum == pytest.approx(expected, abs=1e-9)
        all_seeds = frozenset(found.active)
        assert measured.contribution == f[all_seeds] - f[all_seeds - i]


def test_the_interaction_of_a_single_seed_is_zero():
    found = comparison_of(1, NOTHING_MORE)
    (measured,) = measure(found, {frozenset({"r0c0"}): 60.0, NO_SEEDS: 50.0})
    assert (measured.contribution, measured.interaction_sum) == (10.0, 0.0)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_an_interaction_with_a_missing_part_is_none(count):
    found = comparison_of(count, NOTHING_MORE)
    accuracies = dict.fromkeys(found.coalitions, 50.0)
    assert {each.interaction_sum for each in measure(found, accuracies)} == {None}


def test_descriptions_list_the_enabled_seeds_in_order():
    found = comparison_of(2, CounterfactualSet())
    accuracies = dict(zip(found.coalitions, (80.0, 70.0, 60.0, 50.0), strict=True))
    assert [(each.active, each.accuracy) for each in describe(found, accuracies)] == [
        (("r0c0", "r0c1"), 80.0),
        (("r0c1",), 70.0),
        (("r0c0",), 60.0),
        ((), 50.0),
    ]


def test_required_measurements_are_added_to_configured_ones():
    configured = CounterfactualSet(none=False, solo=True, pairs=False, shapley_pairs=3)
    assert add_required(configured, ()) == configured
    for each in Measurement:
        found = add_required(configured, {each})
        assert found == configured.model_copy(update={each.value: True})
    assert set(Measurement) <= set(CounterfactualSet.model_fields)
