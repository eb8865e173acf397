"""A reward made of named parts."""

from __future__ import annotations

from dataclasses import dataclass

from esper_leyline import FactoredAction, RewardBreakdown, RewardConfig, StepReport
from esper_simic.rewards.step import Parts, read_step


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedReward:
    """Implements ``RewardFunction``: the reward of a step is the sum of its parts.

    Numbers that are missing or not finite count as nothing, so every part of every
    report's reward is finite.

    Attributes:
        parts: What is paid and charged, by name.
        config: Weights; its family decides whether counterfactuals are read.
        gamma: The learner's discount; shaping telescopes only under this one.
    """

    parts: Parts
    config: RewardConfig
    gamma: float

    def __call__(
        self, previous: StepReport, action: FactoredAction, current: StepReport
    ) -> RewardBreakdown:
        """Returns the reward for what ``action`` made of ``previous``.

        A seed whose contribution rose while accuracy fell is flagged ``ransom:<slot>``.
        """
        step = read_step(previous, action, current, self.config, self.gamma)
        return RewardBreakdown(
            components={name: part(step) for name, part in self.parts.items()},
            flags=tuple(f"ransom:{slot}" for slot in step.ransoms),
            notes=step.after.notes,
        )
