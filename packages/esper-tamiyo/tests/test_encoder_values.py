"""Every number of an observation, against its formula by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from esper_leyline import (
    BASE_FEATURES,
    BASE_SIZE,
    SLOT_FEATURES,
    AlphaMode,
    BlendStyle,
    Blueprint,
    FactoredAction,
    Op,
    SeedStage,
)
from esper_leyline.actions import NULL_BLUEPRINT
from esper_leyline.observation import SLOT_SIZE
from esper_tamiyo import ObservationEncoder

LOG_101 = math.log(101.0)
"""Of ±100 points, at which a feature reaches the end of its range."""

BASE = {
    "progress": [6 / 20],
    "val_loss": [math.log(2.2) / 7],
    "val_accuracy": [0.45],
    "loss_history": [math.log(1 + loss) / 7 for loss in (2.0, 1.8, 1.6, 1.4, 1.2)],
    "accuracy_history": [0.1, 0.2, 0.3, 0.4, 0.45],
    "training_share": [1.0],
    "blending_share": [0.0],
    "holding_share": [0.0],
    "last_action_succeeded": [1.0],
    "last_op": [1, 0, 0, 0, 0, 0],
}
SLOT = {
    "occupied": [1.0],
    "stage": [0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    "alpha": [0.25],
    "contribution": [math.log(2.0) / LOG_101],
    "contribution_velocity": [math.log(1.5) / LOG_101],
    "tempo": [3 / 8],
    "alpha_target": [0.5],
    "alpha_mode": [0.0],
    "ramp_steps": [5 / 20],
    "ramp_done": [2 / 20],
    "ramp_left": [3 / 20],
    "alpha_velocity": [0.1],
    "algorithm": [1 / 3],
    "interaction": [math.log(1.5) / LOG_101],
    "gradient_norm": [math.log(2.0) / 7],
    "gradient_health": [0.75],
    "gradient_vanishing": [0.0],
    "gradient_exploding": [0.0],
    "previous_gradient_health": [0.5],
    "epochs_in_stage": [2 / 20],
    "counterfactual_freshness": [0.9],
    "seed_age": [4 / 20],
}
"""Of the report that the fixture ``rich`` makes, in the order of the layout."""

STAGES = {
    SeedStage.UNKNOWN: 0,
    SeedStage.DORMANT: 1,
    SeedStage.GERMINATED: 2,
    SeedStage.TRAINING: 3,
    SeedStage.BLENDING: 4,
    SeedStage.HOLDING: 5,
    SeedStage.FOSSILIZED: 6,
    SeedStage.PRUNED: 7,
    SeedStage.EMBARGOED: 8,
    SeedStage.RESETTING: 9,
}
OCCUPIED = (2, 3, 4, 5, 6)
OF_A_SLOT = [
    *[({"stage": stage}, "stage", at, 1.0) for stage, at in STAGES.items()],
    *[({"stage": stage}, "occupied", 0, float(at in OCCUPIED)) for stage, at in STAGES.items()],
    ({"alpha": 1.5}, "alpha", 0, 1.0),
    ({"alpha": -0.5}, "alpha", 0, 0.0),
    ({"contribution": -4.0}, "contribution", 0, -math.log(5.0) / LOG_101),
    ({"contribution": 12.0}, "contribution", 0, math.log(13.0) / LOG_101),
    ({"contribution": 29.0}, "contribution", 0, math.log(30.0) / LOG_101),
    ({"contribution": 0.0}, "contribution", 0, 0.0),
    ({"contribution": 100.0}, "contribution", 0, 1.0),
    ({"contribution": -400.0}, "contribution", 0, -1.0),
    ({"contribution_velocity": -4.0}, "contribution_velocity", 0, -math.log(5.0) / LOG_101),
    ({"contribution_velocity": 12.0}, "contribution_velocity", 0, math.log(13.0) / LOG_101),
    ({"contribution_velocity": 29.0}, "contribution_velocity", 0, math.log(30.0) / LOG_101),
    ({"contribution_velocity": 0.0}, "contribution_velocity", 0, 0.0),
    ({"contribution_velocity": 100.0}, "contribution_velocity", 0, 1.0),
    ({"contribution_velocity": -400.0}, "contribution_velocity", 0, -1.0),
    ({"interaction_sum": -3.0}, "interaction", 0, -math.log(4.0) / LOG_101),
    ({"interaction_sum": 12.0}, "interaction", 0, math.log(13.0) / LOG_101),
    ({"interaction_sum": 29.0}, "interaction", 0, math.log(30.0) / LOG_101),
    ({"interaction_sum": 0.0}, "interaction", 0, 0.0),
    ({"interaction_sum": 100.0}, "interaction", 0, 1.0),
    ({"interaction_sum": -400.0}, "interaction", 0, -1.0),
    ({"tempo": 8}, "tempo", 0, 1.0),
    ({"tempo": None}, "tempo", 0, 0.0),
    ({"alpha_target": None}, "alpha_target", 0, 0.0),
    ({"alpha_target": 0.7}, "alpha_target", 0, 0.7),
    ({"alpha_mode": AlphaMode.UP}, "alpha_mode", 0, 1.0),
    ({"alpha_mode": AlphaMode.DOWN}, "alpha_mode", 0, -1.0),
    ({"alpha_velocity": -0.4}, "alpha_velocity", 0, -0.4),
    ({"style": None}, "algorithm", 0, 0.0),
    ({"style": BlendStyle.SIGMOID_ADD}, "algorithm", 0, 1 / 3),
    ({"style": BlendStyle.LINEAR_MULTIPLY}, "algorithm", 0, 2 / 3),
    ({"style": BlendStyle.GATED_GATE}, "algorithm", 0, 1.0),
    ({"gradient_norm": 9e9}, "gradient_norm", 0, 2.0),
    ({"gradient_vanishing": True}, "gradient_vanishing", 0, 1.0),
    ({"gradient_exploding": True}, "gradient_exploding", 0, 1.0),
    ({"ramp_steps": 50}, "ramp_steps", 0, 1.0),
    ({"epochs_in_stage": 50}, "epochs_in_stage", 0, 1.0),
    ({"counterfactual_age": None}, "counterfactual_freshness", 0, 0.0),
    ({"counterfactual_age": 0}, "counterfactual_freshness", 0, 1.0),
    ({"counterfactual_age": 3}, "counterfactual_freshness", 0, 0.729),
]
SEVEN = tuple((float(loss), 10.0 * loss) for loss in range(7))
OF_THE_BASE = [
    *[({"action": FactoredAction(op=op)}, "last_op", op, 1.0) for op in Op],
    *[({"action": None}, "last_op", op, 0.0) for op in Op],
    ({"action_succeeded": False}, "last_action_succeeded", 0, 0.0),
    ({"val_accuracy": -7.0}, "val_accuracy", 0, 0.0),
    ({"val_loss": -7.0}, "val_loss", 0, 0.0),
    ({"epoch": 90}, "progress", 0, 1.0),
    # Of seven epochs the last five are looked back on.
    *[({"history": SEVEN}, "loss_history", i, math.log(3 + i) / 7) for i in range(5)],
    *[({"history": SEVEN}, "accuracy_history", i, 0.2 + 0.1 * i) for i in range(5)],
]
SHARES = {
    "training_share": (SeedStage.TRAINING,),
    "blending_share": (SeedStage.BLENDING,),
    "holding_share": (SeedStage.HOLDING, SeedStage.FOSSILIZED),
}


@pytest.fixture
def spec(specs):
    return specs()


@pytest.fixture
def encode(spec):
    encoder = ObservationEncoder(spec)
    return lambda report: encoder.encode([report]).features[0].tolist()


def flat(values, layout):
    return [x for feature in layout for x in values[feature.name]]


def test_a_whole_row_by_hand(encode, spec, rich):
    row = [*flat(BASE, BASE_FEATURES), *flat(SLOT, SLOT_FEATURES) * 3]
    assert len(row) == 116
    assert encode(rich(spec)) == pytest.approx(row)


@pytest.mark.parametrize("case", OF_THE_BASE)
def test_base_features_have_the_values_of_the_report(encode, spec, rich, case):
    change, name, position, value = case
    (feature,) = (each for each in BASE_FEATURES if each.name == name)
    row = encode(replace(rich(spec), **change))
    assert row[feature.offset + position] == pytest.approx(value)


@pytest.mark.parametrize("case", OF_A_SLOT)
def test_slot_features_have_the_values_of_the_report(encode, spec, rich, seeded, case):
    change, name, position, value = case
    (feature,) = (each for each in SLOT_FEATURES if each.name == name)
    plain = encode(rich(spec))
    for slot in range(3):
        row, start = encode(seeded(rich(spec), slot, **change)), BASE_SIZE + slot * SLOT_SIZE
        assert row[start + feature.offset + position] == pytest.approx(value)
        others = [i for i in range(BASE_SIZE, len(row)) if not 0 <= i - start < SLOT_SIZE]
        assert [row[i] for i in others] == [plain[i] for i in others]


@pytest.mark.parametrize("stage", SeedStage)
def test_shares_of_the_slots_by_stage(encode, spec, rich, seeded, stage):
    empty = rich(spec)
    for slot in range(3):
        empty = seeded(empty, slot, stage=SeedStage.DORMANT)
    for slot in range(3):
        row = encode(seeded(empty, slot, stage=stage))
        for feature in BASE_FEATURES:
            if feature.name in SHARES:
                share = 1 / 3 if stage in SHARES[feature.name] else 0.0
                assert row[feature.offset] == pytest.approx(share), feature.name


def test_a_blueprint_changes_the_four_inputs_of_its_slot_only(policies, spec, rich, seeded):
    """The embedding is the one part of an observation that the network makes itself."""
    policy = policies(spec)
    plain = policy._inputs(policy.encode([rich(spec)]))[0]
    assert plain.shape == (128,)
    rows = {NULL_BLUEPRINT: None, **dict(enumerate(Blueprint))}
    for slot in range(3):
        for index, blueprint in rows.items():
            report = seeded(rich(spec), slot, blueprint=blueprint)
            inputs = policy._inputs(policy.encode([report]))[0]
            begin = 116 + 4 * slot
            assert inputs[begin : begin + 4].tolist() == policy.blueprints.weight[index].tolist()
            moved = (inputs != plain).nonzero().flatten().tolist()
            same = blueprint == Blueprint.NORM
            assert moved == ([] if same else list(range(begin, begin + 4)))


def test_every_number_reaches_the_network(policies, spec, rich):
    policy = policies(spec)
    observation = policy.encode([rich(spec)])
    plain = policy._inputs(observation)
    for index in range(116):
        features = observation.features.clone()
        features[0, index] += 0.125
        moved = policy._inputs(replace(observation, features=features)) - plain
        assert moved[0].nonzero().flatten().tolist() == [index]


def test_op_arguments_and_critic_depend_on_the_content_of_a_slot(policies, spec, rich, seeded):
    policy = policies(spec)
    plain, other = (
        policy.act(policy.encode([report]), policy.initial_state(1), generator=None, greedy=True)
        for report in (rich(spec), seeded(rich(spec), 2, blueprint=Blueprint.CONV_HEAVY))
    )
    assert (plain.q_values != other.q_values).any()
    assert (plain.probabilities["op"] != other.probabilities["op"]).any()
    assert any(
        (before != after).any() for before, after in zip(plain.state, other.state, strict=True)
    )
