"""One step as the parts of a reward read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from esper_leyline import EpisodeEnd, FactoredAction, RewardConfig, StepReport
from esper_simic.rewards.measurement import (
    NO_CONTRIBUTIONS,
    Contributions,
    count_contributions,
    find_inflated,
)

REFERENCE_EPOCHS = 20
"""Longer episodes distribute the same total reward and rent over their epochs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A transition: the report before the action, the action, and the report after it.

    Attributes:
        gamma: The learner's discount.
        before: Contributions before the action; none in the family ``loss``, which does not
            use counterfactuals.
        after: Contributions after it.
        inflated: Slots that earn no positive reward in this step.
    """

    previous: StepReport
    action: FactoredAction
    current: StepReport
    config: RewardConfig
    gamma: float
    before: Contributions = NO_CONTRIBUTIONS
    after: Contributions = NO_CONTRIBUTIONS
    inflated: tuple[str, ...] = ()

    @property
    def crashed(self) -> bool:
        """Whether the governor ended the episode."""
        return self.current.ended is EpisodeEnd.GOVERNOR

    @property
    def epochs_left(self) -> int:
        """Epochs that can still be rewarded, including the last one; at least 1."""
        return max(self.current.max_epochs - self.current.epoch, 0) + 1

    @property
    def epoch_share(self) -> float:
        """Weight of one epoch in rewards that are paid every epoch."""
        return min(1.0, REFERENCE_EPOCHS / max(self.current.max_epochs, 1))


Part = Callable[[Step], float]
"""One named part of a reward."""

Parts = Mapping[str, Part]
"""A reward mode: its parts by name, each one of Leyline's ``RewardPart``."""


def read_step(
    previous: StepReport,
    action: FactoredAction,
    current: StepReport,
    config: RewardConfig,
    gamma: float,
) -> Step:
    """Returns the step with its contributions."""
    step = Step(previous=previous, action=action, current=current, config=config, gamma=gamma)
    if config.family == "loss":
        return step
    return replace(
        step,
        before=count_contributions(previous),
        after=count_contributions(current),
        inflated=find_inflated(previous, current),
    )
