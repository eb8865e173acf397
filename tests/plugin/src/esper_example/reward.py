"""A reward: what an epoch was worth."""

from __future__ import annotations

from esper_leyline import FactoredAction, Measurement, RewardBreakdown, RewardConfig, StepReport


class AccuracyGain:
    """Pays a step's gain in validation accuracy, in points, times the attribution weight."""

    requires: frozenset[Measurement] = frozenset()

    def __init__(self, config: RewardConfig, gamma: float) -> None:
        self.weight = config.attribution_weight

    def __call__(
        self, previous: StepReport, action: FactoredAction, current: StepReport
    ) -> RewardBreakdown:
        """Returns the reward of one step; the first epoch has no accuracy to compare with."""
        known = previous.val_accuracy is not None and current.val_accuracy is not None
        gain = current.val_accuracy - previous.val_accuracy if known else 0.0
        return RewardBreakdown(components={"gain": self.weight * gain})
