"""Gates by the names of their checks, permissive and strict."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from esper_leyline import Gate, LifecycleRules, SeedEvidence
from esper_leyline.lifecycle.gates import gate_checks

PERMISSIVE = LifecycleRules()
STRICT = LifecycleRules(permissive_gates=False)
GOOD = SeedEvidence(
    gradient_ratio=0.10,
    gradients_finite=True,
    gradients_exploding=False,
    stage_improvement=0.5,
    contribution=1.0,
    healthy=True,
)
CHECKS = {
    Gate.G1: ({"module_created"}, set()),
    Gate.G2: (
        {"trained_one_epoch", "gradients_finite", "gradients_not_exploding"},
        {"epochs_in_stage", "stage_improvement", "gradient_ratio"},
    ),
    Gate.G3: ({"ramp_arrived", "full_amplitude"}, {"epochs_in_stage"}),
    Gate.G5: ({"healthy", "contribution_measured"}, {"contribution"}),
}


def check(gate, rules, evidence=GOOD, *, epochs=10, arrived=True, alpha=1.0):
    return gate_checks(
        gate,
        epochs_in_stage=epochs,
        ramp_arrived=arrived,
        alpha=alpha,
        evidence=evidence,
        rules=rules,
    )


@pytest.mark.parametrize("gate", Gate)
def test_permissive_gates_check_structure_and_strict_ones_quality_too(gate):
    structure, quality = CHECKS[gate]
    permissive, strict = check(gate, PERMISSIVE), check(gate, STRICT)
    assert permissive.passed
    assert set(permissive.passed_checks) == structure
    assert strict.passed
    assert set(strict.passed_checks) == structure | quality


@pytest.mark.parametrize(
    ("gate", "change", "failed"),
    [
        (Gate.G2, {"gradients_finite": False}, "gradients_finite"),
        (Gate.G2, {"gradients_exploding": True}, "gradients_not_exploding"),
        (Gate.G5, {"healthy": False}, "healthy"),
        (Gate.G5, {"contribution": None}, "contribution_measured"),
    ],
)
def test_structural_checks_fail_in_both_modes(gate, change, failed):
    evidence = replace(GOOD, **change)
    assert check(gate, PERMISSIVE, evidence).failed_checks == (failed,)
    assert failed in check(gate, STRICT, evidence).failed_checks


@pytest.mark.parametrize(
    ("gate", "change", "failed"),
    [
        (Gate.G2, {"stage_improvement": 0.49}, "stage_improvement"),
        (Gate.G2, {"gradient_ratio": 0.09}, "gradient_ratio"),
        (Gate.G2, {"gradient_ratio": math.nan}, "gradient_ratio"),
        (Gate.G5, {"contribution": 0.99}, "contribution"),
        (Gate.G5, {"contribution": -3.0}, "contribution"),
    ],
)
def test_quality_checks_fail_in_strict_mode_only(gate, change, failed):
    evidence = replace(GOOD, **change)
    assert check(gate, PERMISSIVE, evidence).passed
    assert check(gate, STRICT, evidence).failed_checks == (failed,)


@pytest.mark.parametrize("gate", [Gate.G2, Gate.G3])
def test_strict_gates_require_ten_epochs_in_the_stage(gate):
    assert check(gate, STRICT, epochs=9).failed_checks == ("epochs_in_stage",)
    assert check(gate, PERMISSIVE, epochs=1).passed


def test_g2_requires_one_epoch_of_training():
    assert check(Gate.G2, PERMISSIVE, epochs=0).failed_checks == ("trained_one_epoch",)


def test_g3_requires_full_alpha():
    assert check(Gate.G3, PERMISSIVE, arrived=False).failed_checks == ("ramp_arrived",)
    assert check(Gate.G3, PERMISSIVE, alpha=0.7).failed_checks == ("full_amplitude",)


def test_checks_of_unmeasured_values_fail():
    unmeasured = SeedEvidence()
    g2, g5 = check(Gate.G2, STRICT, unmeasured), check(Gate.G5, STRICT, unmeasured)
    assert set(g2.passed_checks) == {"trained_one_epoch", "epochs_in_stage"}
    assert g5.passed_checks == ()


@pytest.mark.parametrize("contribution", [-5.0, 0.0, 5.0])
def test_a_permissive_g5_accepts_a_contribution_of_any_sign(contribution):
    assert check(Gate.G5, PERMISSIVE, replace(GOOD, contribution=contribution)).passed
