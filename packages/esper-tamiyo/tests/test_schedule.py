from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esper_leyline import Blueprint, LifecycleRules, Op, SeedStage
from esper_leyline.actions import TEMPO_EPOCHS
from esper_tamiyo import ScheduleConfig, ScheduleController, TamiyoError


def live(garden, controller) -> list[tuple[int, Op]]:
    """Plays an episode; returns what was done and after how many epochs."""
    controller.reset(0)
    report, done = garden.report(), []
    while report.ended is None:
        action = controller.decide(report)
        assert action == action.canonical()
        if action.op is not Op.WAIT:
            done.append((report.epoch, action.op))
        report = garden.step(action)
    assert all(transition.accepted for transition in garden.transitions)
    return done


def test_every_stage_lasts_as_scheduled(specs, gardens):
    config = ScheduleConfig(first=2, every=50, train=4, tempo=5, hold=3)
    spec = specs(max_epochs=2 + config.life)
    garden = gardens(spec)
    done = live(garden, ScheduleController(spec, config))
    assert done == [
        (2, Op.GERMINATE),
        (3, Op.ADVANCE),  # into TRAINING
        (7, Op.ADVANCE),  # four epochs later into BLENDING
        (12, Op.ADVANCE),  # five later into HOLDING
        (15, Op.FOSSILIZE),
    ]
    assert garden.states[0].stage is SeedStage.FOSSILIZED


def test_seeds_come_at_fixed_epochs_and_take_the_blueprints_in_turn(specs, gardens):
    spec = specs(max_epochs=40, blueprints=(Blueprint.NORM, Blueprint.CONV_LIGHT))
    garden = gardens(spec)
    done = live(garden, ScheduleController(spec, ScheduleConfig(first=1, every=10)))
    assert [epoch for epoch, op in done if op is Op.GERMINATE] == [1, 11, 21]
    names = [state.blueprint for state in garden.states]
    assert names == [Blueprint.NORM, Blueprint.CONV_LIGHT, Blueprint.NORM]
    assert {state.stage for state in garden.states} == {SeedStage.FOSSILIZED}


def test_measurements_have_no_effect(specs, gardens):
    spec, config = specs(max_epochs=30), ScheduleConfig()
    good = live(gardens(spec), ScheduleController(spec, config))
    bad = live(
        gardens(
            spec, contribution=lambda slot, blueprint: -9.0, accuracy=lambda epoch: 90.0 - epoch
        ),
        ScheduleController(spec, config),
    )
    assert good == bad
    assert Op.PRUNE not in {op for _, op in good}


def test_automatic_gates_are_not_waited_for(specs, gardens):
    rules = LifecycleRules(auto_forward_g1=True, auto_forward_g2=True, auto_forward_g3=True)
    spec = specs(max_epochs=18)
    garden = gardens(spec, rules=rules)
    done = live(garden, ScheduleController(spec, ScheduleConfig(every=50)))
    assert [op for _, op in done] == [Op.GERMINATE, Op.FOSSILIZE]


TIMETABLES = st.builds(
    ScheduleConfig,
    first=st.integers(0, 9),
    every=st.integers(1, 9),
    train=st.integers(1, 6),
    tempo=st.sampled_from(TEMPO_EPOCHS),
    hold=st.integers(1, 4),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(config=TIMETABLES, epochs=st.integers(1, 30))
def test_no_seed_germinates_that_could_not_be_fossilized(specs, gardens, config, epochs):
    spec = specs(1, max_epochs=epochs)
    garden = gardens(spec)
    done = live(garden, ScheduleController(spec, config))
    if config.first + config.life > epochs:
        assert done == []
    else:
        assert done[-1] == (config.first + config.life - 1, Op.FOSSILIZE)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"first": -1}, ["'first'", "-1", "at least 0"]),
        ({"hold": 10_001}, ["'hold'", "10001", "at most 10000"]),
        ({"every": 0}, ["'every'", "0", "at least 1"]),
        ({"tempo": 4}, ["'tempo'", "4", "3, 5, 8"]),
    ],
)
def test_an_invalid_schedule_is_refused(changes, parts):
    with pytest.raises(TamiyoError) as caught:
        ScheduleConfig(**changes)
    for part in parts:
        assert part in str(caught.value)


def test_a_blueprint_that_the_task_does_not_allow_is_refused(specs):
    config = ScheduleConfig(blueprint=Blueprint.LORA)
    with pytest.raises(TamiyoError, match="'lora'; allowed: conv_light"):
        ScheduleController(specs(), config)


def test_a_chosen_blueprint_is_the_only_one(specs, gardens):
    spec = specs(2, max_epochs=40)
    garden = gardens(spec)
    live(garden, ScheduleController(spec, ScheduleConfig(blueprint=Blueprint.NORM)))
    assert [state.blueprint for state in garden.states] == [Blueprint.NORM, Blueprint.NORM]
