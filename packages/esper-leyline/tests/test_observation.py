"""Obs V3's layout adds up to the figures of its definition."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from esper_leyline import BASE_FEATURES, BASE_SIZE, SLOT_FEATURES, observation_size
from esper_leyline.observation import SLOT_SIZE, UNMEASURED, policy_input_size, symlog

LAYOUTS = {"base": BASE_FEATURES, "slot": SLOT_FEATURES}


def test_three_slots_make_116_floats_and_128_with_embeddings():
    assert (BASE_SIZE, SLOT_SIZE) == (23, 31)
    assert observation_size(3) == 116
    assert policy_input_size(3) == 128


@pytest.mark.parametrize("slots", [1, 2, 6])
def test_any_number_of_slots(slots):
    assert observation_size(slots) == 23 + 31 * slots
    assert policy_input_size(slots) == 23 + 35 * slots


@pytest.mark.parametrize("layout", LAYOUTS)
def test_features_are_contiguous_and_have_unique_names(layout):
    features = LAYOUTS[layout]
    assert features[0].offset == 0
    for feature, following in pairwise(features):
        assert following.offset == feature.offset + feature.width
    assert len({feature.name for feature in features}) == len(features)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_unmeasured_is_outside_every_ordinary_range(layout):
    for feature in LAYOUTS[layout]:
        assert feature.low < feature.high
        if feature.sentinel is not None:
            assert feature.sentinel == UNMEASURED < feature.low


@pytest.mark.parametrize(
    ("layout", "name", "offset"),
    [
        ("base", "val_loss", 1),
        ("base", "loss_history", 3),
        ("base", "accuracy_history", 8),
        ("base", "training_share", 13),
        ("base", "last_action_succeeded", 16),
        ("base", "last_op", 17),
        ("slot", "stage", 1),
        ("slot", "alpha", 11),
        ("slot", "contribution", 12),
        ("slot", "tempo", 14),
        ("slot", "ramp_steps", 17),
        ("slot", "algorithm", 21),
        ("slot", "interaction", 22),
        ("slot", "gradient_norm", 23),
        ("slot", "epochs_in_stage", 28),
        ("slot", "seed_age", 30),
    ],
)
def test_a_feature_has_the_offset_of_its_definition(layout, name, offset):
    assert {feature.name: feature.offset for feature in LAYOUTS[layout]}[name] == offset


def test_symlog_is_odd_and_compresses():
    assert symlog(0.0) == 0.0
    assert symlog(math.e - 1) == pytest.approx(1.0)
    assert symlog(-3.0) == -symlog(3.0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bounded_features_have_a_bounded_kind(layout):
    measures = {
        "base": {"val_loss", "loss_history"},
        "slot": {"contribution", "contribution_velocity", "interaction", "gradient_norm"},
    }
    assert {each.name for each in LAYOUTS[layout] if each.kind == "measure"} == measures[layout]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_flag_or_a_one_hot_ranges_from_0_to_1(layout):
    for feature in LAYOUTS[layout]:
        if feature.kind in ("flag", "one_hot"):
            assert (feature.low, feature.high) == (0.0, 1.0)
        if feature.width > 1:
            assert feature.kind == "one_hot" or feature.name.endswith("_history")
