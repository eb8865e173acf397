"""The measurements of one seed, from its germination to its removal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import ConfigDict

from esper_kasmina.slots.gradients import GradientMeasurement
from esper_leyline import SeedEvidence, SeedMeasurement

STORED = ConfigDict(extra="forbid", ser_json_inf_nan="strings")
"""How a slot's state is written as JSON: no unknown keys, NaN and infinities as strings."""


@dataclass(slots=True, kw_only=True)
class SeedHistory:
    """The measurements of one seed so far; a new seed gets a new history.

    The lifecycle's gates read ``evidence``, which is computed from it.

    Attributes:
        accuracy: Latest validation accuracy of the host, in percent.
        entry_accuracy: Validation accuracy when the present stage was entered; the first one
            in the stage if there was none before.
        gradients: The seed's gradients in the latest epoch, ``None`` if it had none.
        gradient_ratio: The seed's ``per_root`` gradient divided by the host's.
        previous_health: Gradient health of the epoch before.
        contribution: Latest contribution, in points.
        contribution_velocity: Its change since the measurement before.
        stage_contribution: The contribution, if it was measured in the present stage.
        interaction_sum: Latest interaction, if it was measured with the contribution.
        counterfactual_age: Epochs since the contribution was measured.
        measured_this_epoch: Whether it was measured in the present epoch.
    """

    __pydantic_config__ = STORED

    accuracy: float | None = None
    entry_accuracy: float | None = None
    gradients: GradientMeasurement | None = None
    gradient_ratio: float | None = None
    previous_health: float | None = None
    contribution: float | None = None
    contribution_velocity: float | None = None
    stage_contribution: float | None = None
    interaction_sum: float | None = None
    counterfactual_age: int | None = None
    measured_this_epoch: bool = False

    @property
    def stage_improvement(self) -> float | None:
        """Validation accuracy now minus validation accuracy at the stage's start, in points."""
        if self.accuracy is None or self.entry_accuracy is None:
            return None
        return self.accuracy - self.entry_accuracy

    @property
    def evidence(self) -> SeedEvidence:
        """What the gates read."""
        measured = self.gradients
        return SeedEvidence(
            gradient_ratio=self.gradient_ratio,
            gradients_finite=None if measured is None else measured.finite,
            gradients_exploding=None if measured is None else measured.exploding,
            stage_improvement=self.stage_improvement,
            contribution=self.stage_contribution,
            healthy=None if measured is None else measured.ordinary,
        )

    def enter_stage(self) -> None:
        """Resets what is measured within one stage."""
        self.entry_accuracy = self.accuracy
        self.stage_contribution = None

    def record_gradients(
        self, measured: GradientMeasurement | None, host: GradientMeasurement | None
    ) -> None:
        """Stores an epoch's gradients and their ratio to the host's."""
        if self.gradients is not None:
            self.previous_health = self.gradients.health
        self.gradients = measured
        self.gradient_ratio = _ratio(measured, host)

    def record_validation(self, accuracy: float, measurement: SeedMeasurement | None) -> None:
        """Stores the results of an epoch's validation."""
        self.accuracy = accuracy
        if self.entry_accuracy is None:
            self.entry_accuracy = accuracy
        if measurement is None:
            return
        previous = self.contribution
        self.contribution = self.stage_contribution = measurement.contribution
        self.contribution_velocity = (
            None if previous is None else measurement.contribution - previous
        )
        self.interaction_sum = measurement.interaction_sum
        self.counterfactual_age = 0
        self.measured_this_epoch = True

    def end_epoch(self) -> None:
        """Increments the age of the contribution unless it was measured in this epoch."""
        if self.counterfactual_age is not None and not self.measured_this_epoch:
            self.counterfactual_age += 1
        self.measured_this_epoch = False


def _ratio(measured: GradientMeasurement | None, host: GradientMeasurement | None) -> float | None:
    """Returns the gradient of a seed relative to its host's; ``None`` if it is unknown."""
    if measured is None or host is None or not host.per_root > 0:
        return None
    ratio = measured.per_root / host.per_root
    return ratio if math.isfinite(ratio) else None
