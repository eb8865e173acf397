from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_leyline import (
    BASE_FEATURES,
    BASE_SIZE,
    BUILT_IN_BLUEPRINTS,
    SLOT_FEATURES,
    AlphaMode,
    BlendStyle,
    Blueprint,
    EnvironmentSpec,
    FactoredAction,
    Op,
    SeedReport,
    SeedStage,
    StepReport,
    Topology,
    observation_size,
)
from esper_leyline.actions import NULL_BLUEPRINT
from esper_leyline.observation import SLOT_SIZE, UNMEASURED, policy_input_size
from esper_tamiyo import CEILING, ObservationEncoder, TamiyoError

SLOT = 1
BASE_OFFSETS = {feature.name: feature.offset for feature in BASE_FEATURES}
SLOT_OFFSETS = {feature.name: feature.offset for feature in SLOT_FEATURES}
STAGES = list(SeedStage)


def base(name, *positions):
    return {BASE_OFFSETS[name] + position for position in positions or (0,)}


def slot(name, *positions):
    start = BASE_SIZE + SLOT * SLOT_SIZE + SLOT_OFFSETS[name]
    return {start + position for position in positions or (0,)}


def every_slot(name):
    return {BASE_SIZE + i * SLOT_SIZE + SLOT_OFFSETS[name] for i in range(3)}


def stages(*wanted):
    return slot("stage", *(STAGES.index(stage) for stage in wanted))


def history(position, *, loss=None, accuracy=None):
    def change(report):
        pairs = list(report.history)
        old = pairs[position]
        pairs[position] = (loss or old[0], accuracy or old[1])
        return {"history": tuple(pairs)}

    return change


BASE_CAUSES = [
    ({"epoch": 9}, base("progress")),
    ({"val_loss": 3.0}, base("val_loss")),
    ({"val_accuracy": 80.0}, base("val_accuracy")),
    *[(history(i, loss=9.0), base("loss_history", i)) for i in range(5)],
    *[(history(i, accuracy=99.0), base("accuracy_history", i)) for i in range(5)],
    ({"action_succeeded": False}, base("last_action_succeeded")),
    *[
        ({"action": FactoredAction(op=op)}, base("last_op", Op.WAIT, op))
        for op in Op
        if op is not Op.WAIT
    ],
    (
        {"max_epochs": 40},
        base("progress").union(
            *map(every_slot, ("ramp_steps", "ramp_done", "ramp_left", "epochs_in_stage")),
            every_slot("seed_age"),
        ),
    ),
    ({"train_loss": 9.0}, set()),
    ({"train_accuracy": 9.0}, set()),
    ({"host_parameters": 9}, set()),
    ({"fossil_parameters": 9}, set()),
    ({"environment": 3, "rng_seed": 9}, set()),
]

SLOT_CAUSES = [
    (
        {"stage": SeedStage.BLENDING},
        stages(SeedStage.TRAINING, SeedStage.BLENDING)
        | base("training_share")
        | base("blending_share"),
    ),
    *[
        (
            {"stage": stage},
            stages(SeedStage.TRAINING, stage) | base("training_share") | base("holding_share"),
        )
        for stage in (SeedStage.HOLDING, SeedStage.FOSSILIZED)
    ],
    (
        {"stage": SeedStage.GERMINATED},
        stages(SeedStage.TRAINING, SeedStage.GERMINATED) | base("training_share"),
    ),
    *[
        (
            {"stage": stage},
            stages(SeedStage.TRAINING, stage) | base("training_share") | slot("occupied"),
        )
        for stage in (
            SeedStage.UNKNOWN,
            SeedStage.DORMANT,
            SeedStage.PRUNED,
            SeedStage.EMBARGOED,
            SeedStage.RESETTING,
        )
    ],
    ({"alpha": 0.75}, slot("alpha")),
    ({"contribution": -4.0}, slot("contribution")),
    ({"contribution_velocity": -4.0}, slot("contribution_velocity")),
    ({"tempo": 8}, slot("tempo")),
    ({"alpha_target": 1.0}, slot("alpha_target")),
    ({"alpha_mode": AlphaMode.UP}, slot("alpha_mode")),
    ({"alpha_mode": AlphaMode.DOWN}, slot("alpha_mode")),
    ({"ramp_steps": 8}, slot("ramp_steps") | slot("ramp_left")),
    ({"ramp_done": 4}, slot("ramp_done") | slot("ramp_left")),
    ({"alpha_velocity": -0.2}, slot("alpha_velocity")),
    ({"style": BlendStyle.LINEAR_MULTIPLY}, slot("algorithm")),
    ({"style": BlendStyle.SIGMOID_ADD}, set()),
    ({"interaction_sum": -3.0}, slot("interaction")),
    ({"gradient_norm": 5.0}, slot("gradient_norm")),
    ({"gradient_health": 0.5}, slot("gradient_health")),
    ({"gradient_vanishing": True}, slot("gradient_vanishing")),
    ({"gradient_exploding": True}, slot("gradient_exploding")),
    ({"previous_gradient_health": 0.25}, slot("previous_gradient_health")),
    ({"epochs_in_stage": 3}, slot("epochs_in_stage")),
    ({"counterfactual_age": 4}, slot("counterfactual_freshness")),
    ({"age": 9}, slot("seed_age")),
    ({"blueprint": Blueprint.CONV_LIGHT}, set()),
    ({"parameters": 9}, set()),
    ({"permitted": (Op.PRUNE,)}, set()),
    ({"stage_improvement": 9.0}, set()),
]

MEASURED_BASE = ("val_loss", "val_accuracy", "action_succeeded")
MEASURED_SLOT = {
    "contribution": "contribution",
    "contribution_velocity": "contribution_velocity",
    "interaction_sum": "interaction",
    "gradient_norm": "gradient_norm",
    "gradient_health": "gradient_health",
    "gradient_vanishing": "gradient_vanishing",
    "gradient_exploding": "gradient_exploding",
    "previous_gradient_health": "previous_gradient_health",
}


@pytest.fixture
def spec(specs) -> EnvironmentSpec:
    return specs()


@pytest.fixture
def encoder(spec) -> ObservationEncoder:
    return ObservationEncoder(spec)


@pytest.fixture
def report(spec, rich) -> StepReport:
    return rich(spec)


def changed(encoder, before, after):
    old, new = (encoder.encode([report]).features[0] for report in (before, after))
    return set((old != new).nonzero().flatten().tolist())


@pytest.mark.parametrize(("change", "moved"), BASE_CAUSES)
def test_a_base_value_changes_its_features_only(encoder, spec, rich, change, moved):
    report = rich(spec)
    changes = change(report) if callable(change) else change
    assert changed(encoder, report, replace(report, **changes)) == moved


@pytest.mark.parametrize(("change", "moved"), SLOT_CAUSES)
def test_a_slot_value_changes_its_features_only(encoder, report, seeded, change, moved):
    assert changed(encoder, report, seeded(report, SLOT, **change)) == moved


def test_the_tested_values_change_every_feature():
    moved = set().union(*(indices for _, indices in BASE_CAUSES + SLOT_CAUSES))
    block = range(BASE_SIZE + SLOT * SLOT_SIZE, BASE_SIZE + (SLOT + 1) * SLOT_SIZE)
    assert moved >= {*range(BASE_SIZE), *block}


@pytest.mark.parametrize(("slots", "floats", "inputs"), [(1, 54, 58), (3, 116, 128), (5, 178, 198)])
def test_totals(specs, rich, slots, floats, inputs):
    spec = specs(slots)
    observation = ObservationEncoder(spec).encode([rich(spec)])
    assert observation.features.shape == (1, floats)
    assert observation.blueprints.shape == (1, slots)
    assert (observation_size(slots), policy_input_size(slots)) == (floats, inputs)


def test_values_follow_the_layouts_formulas(encoder, spec, rich):
    row = encoder.encode([rich(spec)]).features[0]
    expected = {
        "progress": 6 / 20,
        "val_loss": math.log(2.2) / 7,
        "val_accuracy": 0.45,
        "training_share": 1.0,
        "last_action_succeeded": 1.0,
    }
    for name, value in expected.items():
        assert row[BASE_OFFSETS[name]] == pytest.approx(value)
    block = row[BASE_SIZE : BASE_SIZE + SLOT_SIZE]
    expected = {
        "alpha": 0.25,
        "contribution": math.log(2.0) / math.log(101.0),
        "tempo": 3 / 8,
        "ramp_left": 3 / 20,
        "algorithm": 1 / 3,
        "gradient_norm": math.log(2.0) / 7,
        "counterfactual_freshness": 0.9,
        "seed_age": 4 / 20,
    }
    for name, value in expected.items():
        assert block[SLOT_OFFSETS[name]] == pytest.approx(value)


def test_history_is_oldest_first_and_padded_at_the_start(encoder, spec, rich):
    report = replace(rich(spec), history=((1.0, 10.0), (3.0, 20.0)))
    row = encoder.encode([report]).features[0]
    losses = row[BASE_OFFSETS["loss_history"] :][:5].tolist()
    assert losses[:3] == [UNMEASURED] * 3
    assert losses[3:] == pytest.approx([math.log(2) / 7, math.log(4) / 7])
    accuracies = row[BASE_OFFSETS["accuracy_history"] :][:5].tolist()
    assert accuracies == pytest.approx([UNMEASURED] * 3 + [0.1, 0.2])


@pytest.mark.parametrize("name", MEASURED_BASE)
def test_an_unmeasured_base_value_is_the_sentinel(encoder, spec, rich, name):
    row = encoder.encode([replace(rich(spec), **{name: None})]).features[0]
    feature = {"action_succeeded": "last_action_succeeded"}.get(name, name)
    assert row[BASE_OFFSETS[feature]] == UNMEASURED


@pytest.mark.parametrize(("name", "feature"), MEASURED_SLOT.items())
def test_an_unmeasured_slot_value_is_the_sentinel(encoder, report, seeded, name, feature):
    row = encoder.encode([seeded(report, SLOT, **{name: None})]).features[0]
    assert {index for index, x in enumerate(row) if x == UNMEASURED} == slot(feature)


def test_a_fresh_host_shows_sentinels_exactly_where_the_layout_has_them(encoder, spec, gardens):
    row = encoder.encode([gardens(spec).report()]).features[0]
    layout = [f for f in BASE_FEATURES for _ in range(f.width)]
    layout += [f for f in SLOT_FEATURES for _ in range(f.width)] * 3
    for value, feature in zip(row.tolist(), layout, strict=True):
        assert (value == UNMEASURED) == (feature.sentinel is not None), feature.name


def test_blueprints_are_indices_with_null_for_an_empty_slot(encoder, spec, rich, seeded):
    report = seeded(rich(spec), 0, blueprint=None)
    report = seeded(report, 2, blueprint=Blueprint.CONV_HEAVY)
    observation = encoder.encode([report])
    assert observation.blueprints.tolist() == [
        [
            NULL_BLUEPRINT,
            BUILT_IN_BLUEPRINTS.index("norm"),
            BUILT_IN_BLUEPRINTS.index("conv_heavy"),
        ]
    ]
    assert observation.blueprints.dtype == torch.int64


def test_a_report_of_other_slots_is_refused_by_name(encoder, specs, rich):
    with pytest.raises(TamiyoError, match=r"reports the slots r0c0; .* built for r0c0, r0c1, r0c2"):
        encoder.encode([rich(specs(1))])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_encoded_as_documented(encoder, spec, rich, seeded, value):
    report = replace(rich(spec), val_loss=value)
    report = seeded(report, SLOT, contribution=value, alpha_velocity=value, gradient_norm=value)
    row = encoder.encode([report]).features[0]
    assert row[BASE_OFFSETS["val_loss"]] == CEILING
    start = BASE_SIZE + SLOT * SLOT_SIZE
    assert row[start + SLOT_OFFSETS["gradient_norm"]] == CEILING
    sign = 0.0 if math.isnan(value) else math.copysign(1.0, value)
    unknown = UNMEASURED if math.isnan(value) else sign
    assert row[start + SLOT_OFFSETS["contribution"]] == unknown
    assert row[start + SLOT_OFFSETS["alpha_velocity"]] == sign


number = st.floats(allow_nan=True, allow_infinity=True, width=64)
maybe = st.none() | number
count = st.integers(-5, 10**9)
seed_reports = st.builds(
    SeedReport,
    slot=st.just("r0c0"),
    stage=st.sampled_from(SeedStage),
    blueprint=st.none() | st.sampled_from(Blueprint),
    style=st.none() | st.sampled_from(BlendStyle),
    tempo=st.none() | count,
    alpha=number,
    alpha_target=maybe,
    alpha_mode=st.sampled_from(AlphaMode),
    alpha_velocity=number,
    ramp_steps=count,
    ramp_done=count,
    epochs_in_stage=count,
    age=count,
    contribution=maybe,
    contribution_velocity=maybe,
    counterfactual_age=st.none() | count,
    interaction_sum=maybe,
    gradient_norm=maybe,
    gradient_health=maybe,
    gradient_vanishing=st.none() | st.booleans(),
    gradient_exploding=st.none() | st.booleans(),
    previous_gradient_health=maybe,
)
step_reports = st.builds(
    StepReport,
    environment=st.just(0),
    rng_seed=st.just(0),
    epoch=count,
    max_epochs=st.integers(0, 1000),
    seeds=st.tuples(seed_reports),
    host_parameters=st.just(900),
    val_loss=maybe,
    val_accuracy=maybe,
    history=st.lists(st.tuples(number, number), max_size=7).map(tuple),
    action=st.none() | st.builds(FactoredAction, op=st.sampled_from(Op)),
    action_succeeded=st.none() | st.booleans(),
)
ONE_SLOT = EnvironmentSpec(
    environments=1,
    max_epochs=20,
    slots=("r0c0",),
    topology=Topology.CNN,
    blueprints=(Blueprint.NORM,),
    styles=(BlendStyle.LINEAR_ADD,),
    host_parameters=900,
)


@settings(deadline=None)
@given(step_reports)
def test_any_report_encodes_to_finite_numbers_in_their_ranges(report):
    row = ObservationEncoder(ONE_SLOT).encode([report]).features[0].tolist()
    layout = [f for f in (*BASE_FEATURES, *SLOT_FEATURES) for _ in range(f.width)]
    for value, feature in zip(row, layout, strict=True):
        high = CEILING if "symlog" in feature.normalization else feature.high
        in_range = feature.low <= value <= high
        assert in_range or value == feature.sentinel, feature.name
