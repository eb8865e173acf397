"""The schedule by which a seed grows, and the result of its growth."""

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

    An epoch is one call of ``train``. In TRAINING a seed gets the gradient at the host's output,
    to which it adds nothing yet. It learns the direction of a correction but not its size, so a
    few epochs are enough, and at high learning rates more of them do harm.

    Attributes:
        training: Epochs in TRAINING, at least 1.
        blending: Epochs in BLENDING, in which alpha rises from 0 to 1; at least 0.
        holding: Epochs in HOLDING, at alpha 1, before the seed is kept or pruned; at least 1.
        patience: Epochs after the end of a stage in which a gate may refuse the next stage before
            the seed is pruned, at least 0.
        min_contribution: The seed is kept if its contribution is greater than this, in the
            units of the score.
        style: How the seed is blended with the host.
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
            KasminaError: If a number of epochs is too small or not a whole number,
                ``min_contribution`` is not a number, or ``style`` is not a ``BlendStyle``.
        """
        for name, least in {"training": 1, "blending": 0, "holding": 1, "patience": 0}.items():
            value = getattr(self, name)
            if not isinstance(value, Integral):
                raise KasminaError(f"{name} is {shown(value)}; give a whole number of epochs")
            if value < least:
                raise KasminaError(f"{name} is {value}; give at least {least}")
        minimum = self.min_contribution
        if not isinstance(minimum, Real) or math.isnan(minimum):
            raise KasminaError(
                f"min_contribution is {shown(minimum)}; give a number of points, such as 0.0"
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
        reason: Why it was kept or pruned, in a few words.
        parameters: How many parameters it added, 0 if it was pruned.
        contribution: The score with it minus the score without it when that was last measured, in
            the units of the score.
        score: The score of the model at the end, with the seed if it was kept.
        epochs: The number of epochs, each one call of ``train``.
    """

    slot: str
    blueprint: str
    fossilized: bool
    reason: str
    parameters: int
    contribution: float
    score: float
    epochs: int
