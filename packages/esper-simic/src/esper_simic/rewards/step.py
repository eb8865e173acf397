"""One step as the parts of a reward see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from esper_leyline import EpisodeEnd, FactoredAction, RewardConfig, StepReport
from esper_simic.rewards.ransom import find_ransoms
from esper_simic.rewards.worth import NOTHING, Worth, count_worth

REFERENCE_EPOCHS = 20
"""Longer episodes spread the same total pay and rent over their epochs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What an action made of a report, and what is counted in both.

    Attributes:
        gamma: The learner's discount.
        before: What the seeds were counted for before the action; nothing in the family
            ``loss``, which reads no counterfactual.
        after: The same after it.
        ransoms: Slots whose seeds are not to be paid for this step.
    """

    previous: StepReport
    action: FactoredAction
    current: StepReport
    config: RewardConfig
    gamma: float
    before: Worth = NOTHING
    after: Worth = NOTHING
    ransoms: tuple[str, ...] = ()

    @property
    def crashed(self) -> bool:
        """Whether the governor ended the episode."""
        return self.current.ended is EpisodeEnd.GOVERNOR

    @property
    def epochs_left(self) -> int:
        """Epochs that can still be paid for, the one just over included; at least 1."""
        return max(self.current.max_epochs - self.current.epoch, 0) + 1

    @property
    def epoch_share(self) -> float:
        """How much one epoch of this episode counts for payments made every epoch."""
        return min(1.0, REFERENCE_EPOCHS / max(self.current.max_epochs, 1))


Part = Callable[[Step], float]
"""One named part of a reward."""

Parts = Mapping[str, Part]
"""A reward mode: its parts by name, which is one of Leyline's ``RewardPart``."""


def read_step(
    previous: StepReport,
    action: FactoredAction,
    current: StepReport,
    config: RewardConfig,
    gamma: float,
) -> Step:
    """Counts what the parts of one step's reward need."""
    step = Step(previous=previous, action=action, current=current, config=config, gamma=gamma)
    if config.family == "loss":
        return step
    return replace(
        step,
        before=count_worth(previous),
        after=count_worth(current),
        ransoms=find_ransoms(previous, current),
    )
