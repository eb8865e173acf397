"""How contracts look on the wire: strict, frozen, and explicit about NaN and infinity."""

from __future__ import annotations

from math import frexp, inf, isfinite
from typing import Annotated, Any, Final

from pydantic import (
    AllowInfNan,
    BaseModel,
    ConfigDict,
    PlainSerializer,
    SerializationInfo,
    WithJsonSchema,
)

WIRE_CONFIG = ConfigDict(
    frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="strings"
)
"""Pydantic settings shared by contract models and contract dataclasses.

A plain ``float`` is a setting and finite; a measurement is a ``Float``.
"""

SIX_DIGITS: Final = "six digits"
"""The context in which JSON holds each ``Float`` with six or seven significant digits."""


def round_digits(value: float) -> float:
    """Rounds a finite number to six or seven significant digits."""
    size = abs(value)
    if 1e-9 <= size < 1e6:
        scale = _SCALES[frexp(value)[1]]
        # The scale is an exact power of ten, so the quotient is the float that is nearest to a
        # decimal number of few digits.
        return round(value * scale) / scale
    return float(f"{value:.6g}") if size else value


def _scale(exponent: int) -> float:
    """Returns the least power of ten that brings 2 ** (exponent - 1) to at least 1e5."""
    return next(10.0**k for k in range(16) if 2.0 ** (exponent - 1) * 10.0**k >= 1e5)


_SCALES = {exponent: _scale(exponent) for exponent in range(-29, 21)}
"""By the exponent that ``frexp`` gives for a number from 1e-9 to 1e6."""


def _write(value: float, info: SerializationInfo) -> Any:
    if not isfinite(value):
        return _NOT_FINITE.get(value, "NaN")
    return round_digits(value) if info.context is SIX_DIGITS else value


_NOT_FINITE = {inf: "Infinity", -inf: "-Infinity"}

Float = Annotated[
    float,
    AllowInfNan(True),
    PlainSerializer(_write, return_type=Any, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["NaN", *_NOT_FINITE.values()]}]}),
]
"""A float whose NaN and infinities survive JSON as the strings the schema names.

JSON holds it exactly, but for the event log (``SIX_DIGITS``).
"""


class Contract(BaseModel):
    """Base of the pydantic contracts: immutable, and unknown keys are errors."""

    model_config = WIRE_CONFIG


class Settings(Contract):
    """Base of what users set: strict, so that ``"2"`` and ``2.0`` are no integers.

    Arrays take ``strict=False``, so that a list does for a tuple; what is in them stays strict.
    """

    model_config = ConfigDict(strict=True)
