"""The schedule of a seed in a training loop, and the result of its growth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

from esper_kasmina.checks import shown
from esper_kasmina.errors import KasminaError
from esper_leyline import BlendStyle


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long a seed stays in each stage, and how much it must contribute.

    An epoch is one call of ``train``. In isolation a seed gets the gradient at the host's output,
    to which it adds nothing yet, so it learns a direction and no size: a few epochs are enough,
    and at high learning rates more do harm.

    Attributes:
        training: Epochs in isolation (TRAINING), at least 1.
        blending: Epochs of the ramp from alpha 0 to full strength (BLENDING), at least 0.
        holding: Epochs at full strength before it is judged (HOLDING), at least 1.
        patience: Epochs that a gate may fail after the stage's time before the seed is pruned,
            at least 0.
        min_contribution: The seed is kept if its contribution is greater than this, in the
            units of the score.
        style: How it is blended in.
    """

    training: int = 3
    blending: int = 3
    holding: int = 2
    patience: int = 5
    min_contribution: float = 0.0
    style: BlendStyle = BlendStyle.LINEAR_ADD

    def __post_init__(self) -> None:
        """Checks every value.

        Raises:
            KasminaError: If a number of epochs is too small or not whole, the bound is no number,
                or the style is none.
        """
        for name, least in {"training": 1, "blending": 0, "holding": 1, "patience": 0}.items():
            value = getattr(self, name)
            if not isinstance(value, Integral):
                raise KasminaError(f"{name} is {shown(value)}; give a whole number of epochs")
            if value < least:
                raise KasminaError(f"{name} is {value}; give at least {least}")
        bound = self.min_contribution
        if not isinstance(bound, Real) or math.isnan(bound):
            raise KasminaError(
                f"min_contribution is {shown(bound)}; give a number of points, such as 0.0"
            )
        if not isinstance(self.style, BlendStyle):
            raise KasminaError(
                f"style is {shown(self.style)}; give a BlendStyle, such as BlendStyle.LINEAR_ADD"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The result of growing one seed.

    Attributes:
        slot: Id of its slot.
        blueprint: Name of its blueprint.
        fossilized: Whether it was kept.
        reason: Why, in a few words.
        parameters: How many parameters it added, 0 if it was pruned.
        contribution: The score with it minus the score without it (leave one out), when it was
            judged, in the units of the score.
        score: Of the model as it is at the end, in the units of ``evaluate``.
        epochs: How many epochs that took, one call of ``train`` each.
    """

    slot: str
    blueprint: str
    fossilized: bool
    reason: str
    parameters: int
    contribution: float
    score: float
    epochs: int
