"""How contracts look on the wire: strict, frozen, and explicit about NaN and infinity."""

from __future__ import annotations

from typing import Annotated

from pydantic import AllowInfNan, BaseModel, ConfigDict, WithJsonSchema

WIRE_CONFIG = ConfigDict(
    frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="strings"
)
"""Pydantic settings shared by contract models and contract dataclasses.

A plain ``float`` is a setting and finite; a measurement is a ``Float``.
"""

Float = Annotated[
    float,
    AllowInfNan(True),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}),
]
"""A float whose NaN and infinities survive JSON as the strings the schema names."""


class Contract(BaseModel):
    """Base of the pydantic contracts: immutable, and unknown keys are errors."""

    model_config = WIRE_CONFIG


class Settings(Contract):
    """Base of what users set: strict, so that ``"2"`` and ``2.0`` are no integers.

    Arrays take ``strict=False``, so that a list does for a tuple; what is in them stays strict.
    """

    model_config = ConfigDict(strict=True)
