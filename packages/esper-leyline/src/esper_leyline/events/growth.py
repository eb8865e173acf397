"""Events of growing: counterfactuals, and the state of hosts.

What happened to a seed (``SeedEvent``), Shapley values (``ShapleyValues``) and rollbacks
(``Rollback``) are payloads as they stand in a report.
"""

from __future__ import annotations

from typing import Literal

from esper_leyline.reports import CounterfactualConfig
from esper_leyline.wire import Contract, Float


class CounterfactualMatrix(Contract):
    """Validation accuracy of one host with different seeds switched off."""

    kind: Literal["counterfactual_matrix"] = "counterfactual_matrix"
    configurations: tuple[CounterfactualConfig, ...]


class HostStabilized(Contract):
    """A host's loss has settled enough for seeds to be judged."""

    kind: Literal["host_stabilized"] = "host_stabilized"
    val_loss: Float


class PlateauDetected(Contract):
    """A host stopped improving."""

    kind: Literal["plateau_detected"] = "plateau_detected"
    epochs_without_improvement: int


class DegradationDetected(Contract):
    """A host's validation accuracy fell clearly."""

    kind: Literal["degradation_detected"] = "degradation_detected"
    drop: Float


class ImprovementDetected(Contract):
    """A host's validation accuracy rose clearly."""

    kind: Literal["improvement_detected"] = "improvement_detected"
    gain: Float


class PerformanceDegradation(Contract):
    """Accuracy stays well below its best."""

    kind: Literal["performance_degradation"] = "performance_degradation"
    best: Float
    current: Float
