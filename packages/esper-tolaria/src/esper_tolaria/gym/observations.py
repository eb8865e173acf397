"""Converts reports to arrays with a user's encoder, and checks them against a space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from esper_leyline import Environment, StepReport
from esper_tolaria.errors import TolariaError

Encode = Callable[[Sequence[StepReport]], NDArray[Any]]
"""Converts N reports to N rows of finite numbers, [N, ...], in order."""


class Observer:
    """Calls an encoder and checks what it returns.

    Attributes:
        space: Of one host's observation.
    """

    def __init__(self, encode: Encode, environment: Environment, space: Box | None) -> None:
        """Encodes the report of a fresh host to find the shape if no space is given.

        Raises:
            TolariaError: If the encoder does not return one row of finite numbers per report.
        """
        self._encode = encode
        self.space = space or _unbounded(encode(environment.reset([0])))

    def __call__(self, reports: Sequence[StepReport]) -> NDArray[Any]:
        """Returns the observations of N reports, a new array [N, ...].

        Raises:
            TolariaError: If the encoder returns anything but N rows of finite numbers, each
                of the space's shape.
        """
        rows = np.array(self._encode(reports), dtype=self.space.dtype)
        expected = (len(reports), *self.space.shape)
        if rows.shape != expected:
            raise TolariaError(
                f"encode returned an array of shape {rows.shape} for {len(reports)} reports; "
                f"return {expected}, or pass the observation_space that fits"
            )
        broken = ~np.isfinite(rows).reshape(len(reports), -1).all(axis=1)
        if broken.any():
            environment = reports[int(np.argmax(broken))].environment
            raise TolariaError(
                f"encode returned a number that is not finite for environment {environment}; "
                "map missing, NaN and infinite measurements to finite numbers"
            )
        return rows


def _unbounded(rows: NDArray[Any]) -> Box:
    shape = np.shape(rows)
    if len(shape) < 2 or shape[0] != 1:
        raise TolariaError(
            f"encode returned an array of shape {shape} for one report; return [1, ...]"
        )
    return Box(-np.inf, np.inf, shape[1:], np.float32)
