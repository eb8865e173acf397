"""Paired differences of two arms that are equally good on average, in many shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]

QUARTER, GAIN = 0.25, 15.0


def _a_quarter_gains(noise: float) -> Draw:
    def draw(generator: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
        gains = GAIN * (generator.random(shape) < QUARTER)
        return gains - GAIN * QUARTER + generator.normal(scale=noise, size=shape)

    return draw


NULLS: Mapping[str, Draw] = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "skewed (exponential)": lambda generator, shape: generator.exponential(size=shape) - 1,
    "heavy-tailed (t, 3)": lambda generator, shape: generator.standard_t(3, size=shape),
    "+15 on a quarter, sd 1": _a_quarter_gains(1.0),
    "+15 on a quarter, sd 4": _a_quarter_gains(4.0),
}
"""Each draws samples [samples, pairs] whose true mean is 0."""
