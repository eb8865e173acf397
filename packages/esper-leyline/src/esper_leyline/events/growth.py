"""Events of growing: seeds, counterfactuals, and the state of hosts."""

from __future__ import annotations

from typing import Literal

from esper_leyline.actions import Blueprint
from esper_leyline.gates import GateResult
from esper_leyline.reports import CounterfactualConfig, Rollback
from esper_leyline.slots import SlotId
from esper_leyline.stages import SeedStage
from esper_leyline.wire import Contract, Float


class SeedGerminated(Contract):
    """A seed was created."""

    kind: Literal["seed_germinated"] = "seed_germinated"
    round: int
    epoch: int
    slot: SlotId
    blueprint: Blueprint
    parameters: int


class SeedStageChanged(Contract):
    """A seed entered another stage."""

    kind: Literal["seed_stage_changed"] = "seed_stage_changed"
    round: int
    epoch: int
    slot: SlotId
    source: SeedStage
    target: SeedStage
    alpha: Float


class SeedGateEvaluated(Contract):
    """A gate was asked whether a seed may move on."""

    kind: Literal["seed_gate_evaluated"] = "seed_gate_evaluated"
    round: int
    epoch: int
    slot: SlotId
    result: GateResult


class SeedFossilized(Contract):
    """A seed became part of its host."""

    kind: Literal["seed_fossilized"] = "seed_fossilized"
    round: int
    epoch: int
    slot: SlotId
    blueprint: Blueprint
    parameters: int
    age: int
    contribution: Float | None


class SeedPruned(Contract):
    """A seed was removed."""

    kind: Literal["seed_pruned"] = "seed_pruned"
    round: int
    epoch: int
    slot: SlotId
    blueprint: Blueprint
    parameters: int
    age: int
    contribution: Float | None


class CounterfactualMatrix(Contract):
    """Validation accuracy of one host with different seeds switched off."""

    kind: Literal["counterfactual_matrix"] = "counterfactual_matrix"
    round: int
    epoch: int
    configurations: tuple[CounterfactualConfig, ...]


class ShapleyMeasured(Contract):
    """Shapley value of each slot's seed, in points of accuracy."""

    kind: Literal["shapley_measured"] = "shapley_measured"
    round: int
    epoch: int
    values: dict[str, Float]
    exact: bool
    permutations: int | None = None


class HostStabilized(Contract):
    """A host's loss has settled enough for seeds to be judged."""

    kind: Literal["host_stabilized"] = "host_stabilized"
    round: int
    epoch: int
    val_loss: Float


class PlateauDetected(Contract):
    """A host stopped improving."""

    kind: Literal["plateau_detected"] = "plateau_detected"
    round: int
    epoch: int
    epochs_without_improvement: int


class DegradationDetected(Contract):
    """A host's validation accuracy fell clearly."""

    kind: Literal["degradation_detected"] = "degradation_detected"
    round: int
    epoch: int
    drop: Float


class ImprovementDetected(Contract):
    """A host's validation accuracy rose clearly."""

    kind: Literal["improvement_detected"] = "improvement_detected"
    round: int
    epoch: int
    gain: Float


class PerformanceDegradation(Contract):
    """Accuracy stays well below its best."""

    kind: Literal["performance_degradation"] = "performance_degradation"
    round: int
    epoch: int
    best: Float
    current: Float


class GovernorRolledBack(Contract):
    """The governor restored a host and ended its episode."""

    kind: Literal["governor_rolled_back"] = "governor_rolled_back"
    round: int
    epoch: int
    rollback: Rollback
