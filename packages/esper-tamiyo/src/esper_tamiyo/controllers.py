"""Baselines: a controller that always waits, and one that acts at random."""

from __future__ import annotations

import random

from esper_leyline import (
    CANONICAL_INDEX,
    HEADS,
    RELEVANT_HEADS,
    EnvironmentSpec,
    FactoredAction,
    Op,
    StepReport,
)
from esper_leyline.masks import task_choices, valid_slots


class StaticController:
    """Always waits, so that the host never grows."""

    reason = "this controller always waits"

    def reset(self, rng_seed: int) -> None:
        """Does nothing: it has no state."""

    def decide(self, report: StepReport) -> FactoredAction:  # noqa: ARG002
        """Waits."""
        return FactoredAction()


class RandomMaskedController:
    """Draws a valid op, then a valid choice of each head that the op uses, all uniformly.

    Its masks are those of a policy, so its actions are never rejected.
    """

    reason = "drawn at random among the valid actions"

    def __init__(self, spec: EnvironmentSpec) -> None:
        self._blueprints = spec.blueprint_choices
        self._choices = task_choices(spec)
        self._random = random.Random(0)  # noqa: S311

    def reset(self, rng_seed: int) -> None:
        """Seeds its random generator again."""
        self._random = random.Random(rng_seed)  # noqa: S311

    def decide(self, report: StepReport) -> FactoredAction:
        """Draws an action that the lifecycle accepts."""
        slots = valid_slots(report)
        op = self._random.choice(tuple(slots))
        if op is Op.WAIT:
            return FactoredAction()
        choices = {"slot": slots[op], **self._choices}
        drawn = {name: self._random.choice(choices[name]) for name in RELEVANT_HEADS[op][1:]}
        drawn["op"] = op
        indices = [drawn.get(name, CANONICAL_INDEX) for name in HEADS]
        return FactoredAction.from_indices(indices, self._blueprints)
