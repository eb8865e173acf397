"""Strict gates on real hosts: each check fails for the fact that it names, and only for that."""

from __future__ import annotations

import pytest
import torch

from esper_leyline import (
    Advance,
    Fossilize,
    Gate,
    SeedCommand,
    SeedMeasurement,
    SeedStage,
)

STRICT = {
    "permissive_gates": False,
    "g2_min_epochs": 2,
    "g2_min_improvement": 0.5,
    "g2_min_gradient_ratio": 1e-3,
    "g3_min_epochs": 4,
    "g5_min_contribution": 1.0,
}
BEHIND = {
    Gate.G1: SeedStage.TRAINING,
    Gate.G2: SeedStage.BLENDING,
    Gate.G3: SeedStage.HOLDING,
    Gate.G5: SeedStage.FOSSILIZED,
}


@pytest.fixture
def epoch(batch, objective):
    """One epoch in which everything is well, but for what a test spoils."""

    def run(host, *, accuracy=51.0, contribution=2.0, gradient=1.0):
        inputs, labels = batch(host.spec)
        host.train()
        host.zero_grad()
        objective(host(inputs), labels).backward()
        seed = host.slot("r0c0").seed
        for parameter in seed.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(gradient)
        host.record_gradients()
        measured = [] if contribution is None else [contribution]
        host.record_validation(
            accuracy, [SeedMeasurement(slot="r0c0", contribution=c) for c in measured]
        )
        host.tick()

    return run


@pytest.fixture
def reach(family, make_host, order, epoch, grow):
    """Brings a seed to a gate, with the epochs before it as a test wants them."""

    def bring(gate, *, epochs, target=1.0, **spoilt):
        host = make_host(family, **STRICT)
        host.record_validation(50.0, [])
        grow(host, "r0c0", SeedStage.GERMINATED, alpha_target=target)
        waits = {Gate.G1: 0, Gate.G2: 2, Gate.G3: 4, Gate.G5: 1}
        for earlier in BEHIND:
            if earlier is gate:
                break
            for _ in range(waits[earlier]):
                epoch(host)
            order(host, "r0c0", Advance())
        for _ in range(epochs):
            epoch(host, **spoilt)
        return host

    return bring


def knock(host, gate):
    command = Fossilize() if gate is Gate.G5 else Advance()
    return host.apply_command(SeedCommand(slot="r0c0", command=command))


@pytest.mark.parametrize(
    ("gate", "epochs", "checks"),
    [
        (Gate.G1, 0, 1),
        (Gate.G2, 2, 6),
        (Gate.G3, 4, 3),
        (Gate.G5, 1, 3),
    ],
)
def test_a_healthy_seed_passes_every_gate(reach, gate, epochs, checks):
    host = reach(gate, epochs=epochs)
    result = host.seed_reports()[0].gate
    assert result.gate is gate
    assert result.failed_checks == ()
    assert len(result.passed_checks) == checks
    assert knock(host, gate).accepted
    assert host.slot("r0c0").stage is BEHIND[gate]


NO_GRADIENT = ("gradients_finite", "gradients_not_exploding", "gradient_ratio")
NOT_MEASURED = ("gradients_measured", "gradient_ratio")
FAILURES = {
    "no epoch yet": (
        Gate.G2,
        {"epochs": 0},
        ("trained_one_epoch", "epochs_in_stage", "stage_improvement", *NOT_MEASURED),
    ),
    "infinite gradients": (Gate.G2, {"epochs": 2, "gradient": torch.inf}, NO_GRADIENT),
    "no numbers": (Gate.G2, {"epochs": 2, "gradient": torch.nan}, NO_GRADIENT),
    "huge gradients": (Gate.G2, {"epochs": 2, "gradient": 1e12}, ("gradients_not_exploding",)),
    "too soon": (Gate.G2, {"epochs": 1}, ("epochs_in_stage",)),
    "no progress": (Gate.G2, {"epochs": 2, "accuracy": 50.4}, ("stage_improvement",)),
    "tiny gradients": (Gate.G2, {"epochs": 2, "gradient": 1e-9}, ("gradient_ratio",)),
    "alpha on its way": (
        Gate.G3,
        {"epochs": 2},
        ("ramp_arrived", "full_amplitude", "epochs_in_stage"),
    ),
    "half strength": (Gate.G3, {"epochs": 4, "target": 0.5}, ("full_amplitude",)),
    "ramp too fresh": (Gate.G3, {"epochs": 3}, ("epochs_in_stage",)),
    "sick": (Gate.G5, {"epochs": 1, "gradient": 0.0}, ("healthy",)),
    "unmeasured": (
        Gate.G5,
        {"epochs": 1, "contribution": None},
        ("contribution_measured", "contribution"),
    ),
    "of little use": (Gate.G5, {"epochs": 1, "contribution": 0.9}, ("contribution",)),
}


@pytest.mark.parametrize(("gate", "facts", "failed"), FAILURES.values(), ids=FAILURES)
def test_a_check_fails_for_the_fact_it_names(reach, gate, facts, failed):
    host = reach(gate, **facts)
    result = host.seed_reports()[0].gate
    assert set(result.failed_checks) == set(failed)
    stage = host.slot("r0c0").stage
    answer = knock(host, gate)
    assert not answer.accepted
    assert all(name in answer.reason for name in failed)
    assert host.slot("r0c0").stage is stage
