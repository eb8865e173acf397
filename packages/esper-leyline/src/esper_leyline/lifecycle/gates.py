"""Quality gates: what a seed must show before it may move on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from esper_leyline.ranges import MOST_EPOCHS, Epochs, Points, Weight
from esper_leyline.wire import WIRE_CONFIG, Float, Settings


class Gate(StrEnum):
    """The four gates and the move each one guards."""

    G1 = "g1"
    """GERMINATED to TRAINING."""
    G2 = "g2"
    """TRAINING to BLENDING."""
    G3 = "g3"
    """BLENDING to HOLDING."""
    G5 = "g5"
    """HOLDING to FOSSILIZED."""


class LifecycleRules(Settings):
    """What the lifecycle accepts, and when it advances automatically.

    Permissive gates check structure only and leave quality to the reward; strict
    gates add the thresholds below.
    """

    permissive_gates: bool = Field(
        default=True,
        description="Gates check structure only; strict gates also check the thresholds below.",
    )
    auto_forward_g1: bool = Field(
        default=False, description="Seeds pass gate G1 (to TRAINING) without an action."
    )
    auto_forward_g2: bool = Field(
        default=False, description="Seeds pass gate G2 (to BLENDING) without an action."
    )
    auto_forward_g3: bool = Field(
        default=False, description="Seeds pass gate G3 (to HOLDING) without an action."
    )
    min_prune_age: int = Field(
        default=5, ge=0, le=MOST_EPOCHS, description="Epochs before a seed may be pruned."
    )
    embargo_ticks: Epochs = Field(
        default=5, description="Epochs that a slot stays closed after pruning."
    )
    g2_min_epochs: Epochs = Field(default=10, description="Strict G2: least epochs in TRAINING.")
    g2_min_improvement: Points = Field(
        default=0.5, description="Strict G2: least improvement since TRAINING began, in points."
    )
    g2_min_gradient_ratio: Weight = Field(
        default=0.10, description="Strict G2: least gradient of the seed relative to the host's."
    )
    g3_min_epochs: Epochs = Field(default=10, description="Strict G3: least epochs in BLENDING.")
    g5_min_contribution: Points = Field(
        default=1.0, description="Strict G5: least contribution, in points."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedEvidence:
    """What gates read of one seed's measurements; ``None`` is not measured yet.

    Attributes:
        gradient_ratio: L2 norm of the seed's gradient over that of the host's, each divided by
            the square root of its number of parameters.
        gradients_finite: Whether every gradient was finite.
        gradients_exploding: Whether the gradient was far above ordinary size.
        stage_improvement: Validation accuracy now minus at entry of the stage, in points.
        contribution: Main validation accuracy minus the same without this seed, in
            points, measured since the stage was entered.
        healthy: Whether parameters and recent gradients are finite and ordinary.
    """

    __pydantic_config__ = WIRE_CONFIG

    gradient_ratio: Float | None = None
    gradients_finite: bool | None = None
    gradients_exploding: bool | None = None
    stage_improvement: Float | None = None
    contribution: Float | None = None
    healthy: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The outcome of one gate: the names of the checks that passed and that failed."""

    __pydantic_config__ = WIRE_CONFIG

    gate: Gate
    passed_checks: tuple[str, ...] = ()
    failed_checks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the seed may move on."""
        return not self.failed_checks


def gate_checks(
    gate: Gate,
    *,
    epochs_in_stage: int,
    ramp_arrived: bool,
    alpha: float,
    evidence: SeedEvidence,
    rules: LifecycleRules,
) -> GateResult:
    """Evaluates one gate; an unmeasured fact fails the check that needs it."""
    if gate is Gate.G1:
        checks = {"module_created": True}
    elif gate is Gate.G2:
        checks = _g2(epochs_in_stage, evidence, rules)
    elif gate is Gate.G3:
        checks = _g3(epochs_in_stage, ramp_arrived, alpha, rules)
    else:
        checks = _g5(evidence, rules)
    return GateResult(
        gate=gate,
        passed_checks=tuple(name for name, passed in checks.items() if passed),
        failed_checks=tuple(name for name, passed in checks.items() if not passed),
    )


def _g2(epochs: int, evidence: SeedEvidence, rules: LifecycleRules) -> dict[str, bool]:
    checks = {"trained_one_epoch": epochs >= 1}
    if evidence.gradients_finite is None:
        checks["gradients_measured"] = False  # nothing is known, so nothing is called bad
    else:
        checks["gradients_finite"] = evidence.gradients_finite
        checks["gradients_not_exploding"] = evidence.gradients_exploding is False
    if not rules.permissive_gates:
        checks["epochs_in_stage"] = epochs >= rules.g2_min_epochs
        checks["stage_improvement"] = _reaches(evidence.stage_improvement, rules.g2_min_improvement)
        checks["gradient_ratio"] = _reaches(evidence.gradient_ratio, rules.g2_min_gradient_ratio)
    return checks


def _g3(epochs: int, arrived: bool, alpha: float, rules: LifecycleRules) -> dict[str, bool]:
    checks = {"ramp_arrived": arrived, "full_amplitude": alpha >= 1.0}
    if not rules.permissive_gates:
        checks["epochs_in_stage"] = epochs >= rules.g3_min_epochs
    return checks


def _g5(evidence: SeedEvidence, rules: LifecycleRules) -> dict[str, bool]:
    known = evidence.healthy is not None
    checks = {
        "healthy" if known else "gradients_measured": evidence.healthy is True,
        "contribution_measured": evidence.contribution is not None,
    }
    if not rules.permissive_gates:
        checks["contribution"] = _reaches(evidence.contribution, rules.g5_min_contribution)
    return checks


def _reaches(value: float | None, threshold: float) -> bool:
    return value is not None and value >= threshold
