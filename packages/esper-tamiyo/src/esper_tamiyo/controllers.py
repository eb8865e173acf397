"""Controllers to compare with: one that never acts and one that acts at random."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from esper_leyline import (
    ALPHA_SPEED_TICKS,
    ALPHA_TARGETS,
    RELEVANT_HEADS,
    TEMPO_EPOCHS,
    AlphaCurve,
    EnvironmentSpec,
    FactoredAction,
    Op,
    StepReport,
)
from esper_tamiyo.masks import open_slots


class StaticController:
    """Always waits: the host as it is."""

    def reset(self, rng_seed: int) -> None:
        """Has nothing to forget."""

    def decide(self, report: StepReport) -> FactoredAction:  # noqa: ARG002
        """Waits."""
        return FactoredAction()


class RandomMaskedController:
    """Uniform over the open ops, then uniform over the open choices of each head it reads.

    It sees the masks that a policy sees, so the lifecycle never refuses it.
    """

    def __init__(self, spec: EnvironmentSpec) -> None:
        self._choices: dict[str, tuple[Any, ...]] = {
            "blueprint": tuple(spec.blueprints),
            "style": tuple(spec.styles),
            "tempo": tuple(range(len(TEMPO_EPOCHS))),
            "alpha_target": tuple(range(len(ALPHA_TARGETS))),
            "alpha_speed": tuple(range(len(ALPHA_SPEED_TICKS))),
            "alpha_curve": tuple(AlphaCurve),
        }
        self._random = random.Random(0)  # noqa: S311

    def reset(self, rng_seed: int) -> None:
        """Seeds its random generator again."""
        self._random = random.Random(rng_seed)  # noqa: S311

    def decide(self, report: StepReport) -> FactoredAction:
        """Draws an action that the lifecycle accepts."""
        slots = open_slots(report)
        op = self._random.choice(tuple(slots))
        if op is Op.WAIT:
            return FactoredAction()
        choices = {"slot": slots[op], **self._choices}
        drawn = {name: self._random.choice(choices[name]) for name in RELEVANT_HEADS[op][1:]}
        return replace(FactoredAction(op=op), **drawn)
