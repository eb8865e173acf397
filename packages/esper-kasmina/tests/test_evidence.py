from __future__ import annotations

import math

import pytest
import torch

from esper_kasmina import KasminaError, measure_gradients
from esper_leyline import (
    AlphaMode,
    Blueprint,
    Gate,
    Germinate,
    Op,
    Prune,
    SeedEventKind,
    SeedMeasurement,
    SeedStage,
    SetAlphaTarget,
)


def parameter(*gradient: float) -> torch.nn.Parameter:
    made = torch.nn.Parameter(torch.ones(len(gradient)))
    made.grad = torch.tensor(gradient)
    return made


def test_measurements_of_gradients_equal_hand_arithmetic():
    measured = measure_gradients([parameter(3.0, 0.0, 0.0), parameter(4.0)])
    assert measured.norm == pytest.approx(5.0)
    assert measured.per_root == pytest.approx(5.0 / 2)
    assert measured.health == 1.0
    assert measured.ordinary


@pytest.mark.parametrize(
    ("gradient", "expected"),
    [
        (1e-9, (True, False, True, 0.0)),
        (1e4, (False, True, True, 1.0)),
        (math.inf, (False, True, False, 0.0)),
        (math.nan, (False, True, False, 0.0)),
    ],
)
def test_vanishing_exploding_and_infinite_gradients_are_found(gradient, expected):
    measured = measure_gradients([parameter(gradient)])
    found = (measured.vanishing, measured.exploding, measured.finite, measured.health)
    assert found == expected
    assert not measured.ordinary


def test_a_missing_gradient_counts_as_vanished():
    alone = torch.nn.Parameter(torch.ones(2))
    assert measure_gradients([alone]) is None
    assert measure_gradients([alone, parameter(1.0)]).health == 0.5


def test_a_parameter_that_is_not_finite_is_unhealthy():
    broken = parameter(1.0)
    torch.nn.init.constant_(broken, math.nan)
    measured = measure_gradients([broken])
    assert measured.finite
    assert not measured.ordinary


def seed(host, slot="r0c0"):
    return next(report for report in host.seed_reports() if report.slot == slot)


def test_a_new_host_reports_no_measurements(make_host):
    report = seed(make_host())
    assert report.stage is SeedStage.DORMANT
    assert report.permitted == (Op.GERMINATE,)
    measured = (
        report.contribution,
        report.contribution_velocity,
        report.counterfactual_age,
        report.interaction_sum,
        report.stage_improvement,
        report.gradient_norm,
        report.gradient_health,
        report.gradient_vanishing,
        report.gradient_exploding,
        report.previous_gradient_health,
        report.alpha_target,
        report.gate,
    )
    assert measured == (None,) * len(measured)


def test_gradients_reach_the_report(make_host, grow, train):
    host = make_host()
    grow(host, "r0c0", SeedStage.GERMINATED)
    train(host)
    assert seed(host).gradient_norm is None
    grow(host, "r0c1", SeedStage.TRAINING)
    assert seed(host, "r0c1").gradient_norm is None
    train(host)
    first = seed(host, "r0c1")
    gradients = [p.grad for p in host.slot("r0c1").seed.parameters()]
    total = torch.cat([g.flatten() for g in gradients]).norm().item()
    assert first.gradient_norm == pytest.approx(total)
    assert (first.gradient_health, first.previous_gradient_health) == (1.0, None)
    assert (first.gradient_vanishing, first.gradient_exploding) == (False, False)
    torch.nn.init.zeros_(host.slot("r0c1").seed.scale)
    train(host)
    second = seed(host, "r0c1")
    assert second.previous_gradient_health == 1.0
    assert second.gradient_health < 1.0


def test_stage_improvement_counts_from_the_entry_of_the_stage(make_host, grow, order):
    host = make_host()
    host.record_validation(40.0, [])
    order(host, "r0c0", Germinate(blueprint=Blueprint.NORM))
    host.record_validation(43.0, [])
    assert seed(host).stage_improvement == pytest.approx(3.0)
    assert seed(host, "r0c1").stage_improvement is None


def test_contribution_its_change_and_its_age_are_reported(make_host, grow):
    host = make_host()
    grow(host, "r0c0", SeedStage.HOLDING)
    grow(host, "r0c1", SeedStage.GERMINATED)

    def epoch(contribution, interaction=None):
        measured = SeedMeasurement(
            slot="r0c0", contribution=contribution, interaction_sum=interaction
        )
        host.record_validation(50.0, [measured])
        host.tick()

    epoch(2.0, 0.25)
    assert seed(host).interaction_sum == 0.25
    epoch(5.0)
    report = seed(host)
    assert (report.contribution, report.contribution_velocity) == (5.0, 3.0)
    assert report.counterfactual_age == 0
    assert report.interaction_sum is None
    for age in (1, 2):
        host.record_validation(50.0, [])
        host.tick()
        assert seed(host).counterfactual_age == age
        assert seed(host).contribution == 5.0
    epoch(1.0)
    assert seed(host).counterfactual_age == 0
    assert seed(host).contribution_velocity == -4.0
    assert seed(host, "r0c1").contribution is None


def test_g5_ignores_contributions_of_earlier_stages(make_host, grow, train):
    host = make_host()
    grow(host, "r0c0", SeedStage.HOLDING)
    report = seed(host)
    assert report.contribution == 1.0
    assert report.gate.gate is Gate.G5
    assert report.gate.failed_checks == ("contribution_measured",)
    assert Op.FOSSILIZE not in report.permitted
    train(host)
    assert seed(host).gate.passed
    assert Op.FOSSILIZE in seed(host).permitted


def test_measurements_are_cleared_when_a_seed_is_removed(make_host, grow):
    host = make_host()
    grow(host, "r0c0", SeedStage.HOLDING)
    host.prune_live()
    report = seed(host)
    assert (report.contribution, report.gradient_norm, report.counterfactual_age) == (None,) * 3
    assert (report.parameters, report.blueprint, report.alpha) == (0, None, 0.0)


def test_a_measurement_of_an_empty_slot_is_an_error(make_host):
    host = make_host()
    for slot, message in (("r0c0", "DORMANT and holds no seed"), ("r9c9", "no enabled slot")):
        with pytest.raises(KasminaError, match=message):
            host.record_validation(50.0, [SeedMeasurement(slot=slot, contribution=1.0)])


def test_the_ramp_is_reported(make_host, grow, order, train):
    host = make_host()
    grow(host, "r0c0", SeedStage.BLENDING, tempo=5, alpha_target=0.5)
    assert seed(host).alpha_mode is AlphaMode.UP
    train(host)
    report = seed(host)
    assert (report.ramp_steps, report.ramp_done, report.tempo) == (5, 1, 5)
    assert report.alpha_velocity == pytest.approx(report.alpha) == pytest.approx(0.1)
    assert report.alpha_target == 0.5
    for _ in range(4):
        train(host)
    assert seed(host).alpha_mode is AlphaMode.HOLD
    style = seed(host).style
    order(host, "r0c0", SetAlphaTarget(style=style, alpha_target=1.0, ticks=0))
    train(host)
    assert seed(host).alpha_velocity == pytest.approx(0.5)
    order(host, "r0c0", Prune(ticks=3))
    assert seed(host).pruning
    assert seed(host).alpha_mode is AlphaMode.DOWN


def test_events_come_in_order(make_host, grow):
    host = make_host()
    grow(host, "r0c0", SeedStage.BLENDING)
    kinds = [event.kind for event in host.take_events()]
    changed, gate = SeedEventKind.STAGE_CHANGED, SeedEventKind.GATE_EVALUATED
    assert kinds == [SeedEventKind.GERMINATED, changed, gate, changed, gate, changed]
    assert host.take_events() == ()


def test_a_gate_that_fails_adds_an_event(make_host, grow):
    host = make_host(auto_forward_g2=True)
    grow(host, "r0c0", SeedStage.TRAINING)
    host.take_events()
    host.tick()
    (event,) = host.take_events()
    assert event.kind is SeedEventKind.GATE_EVALUATED
    assert (event.source, event.target) == (SeedStage.TRAINING, SeedStage.BLENDING)
    assert event.gate.failed_checks == ("gradients_measured",)


@pytest.mark.parametrize("ticks", [0, 3])
def test_the_event_of_a_prune_describes_the_removed_seed(make_host, grow, order, train, ticks):
    host = make_host(min_prune_age=0)
    grow(host, "r0c0", SeedStage.HOLDING, Blueprint.CONV_SMALL)
    before = seed(host)
    host.take_events()
    order(host, "r0c0", Prune(ticks=ticks))
    for _ in range(ticks):
        train(host)
    pruned, changed = host.take_events()
    assert (pruned.kind, changed.kind) == (SeedEventKind.PRUNED, SeedEventKind.STAGE_CHANGED)
    assert changed.target is SeedStage.PRUNED
    assert pruned.blueprint == Blueprint.CONV_SMALL
    assert pruned.parameters == before.parameters > 0
    assert pruned.age == before.age + ticks
    assert pruned.contribution == before.contribution == 1.0
    assert pruned.alpha > 0


def test_the_event_of_a_fossilization_describes_the_seed(make_host, grow):
    host = make_host()
    grow(host, "r0c0", SeedStage.FOSSILIZED)
    fossilized, changed = host.take_events()[-2:]
    assert fossilized.kind is SeedEventKind.FOSSILIZED
    assert (changed.source, changed.target) == (SeedStage.HOLDING, SeedStage.FOSSILIZED)
    assert (fossilized.alpha, fossilized.contribution) == (1.0, 1.0)
    assert fossilized.parameters == host.parameter_counts().fossil
