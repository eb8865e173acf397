"""How large a policy is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from esper_leyline.actions import HEADS
from esper_leyline.observation import BLUEPRINT_EMBEDDING
from esper_leyline.ranges import Name
from esper_leyline.wire import Settings

MOST_UNITS = 4096
"""Widest layer of a policy; one of that size and its optimiser take 2 GB."""


class PolicyConfig(Settings):
    """Sizes of Policy V2 and the probability floors of its heads."""

    feature_size: int = Field(default=512, ge=8, le=MOST_UNITS, description="Units of the encoder.")
    memory_size: int = Field(
        default=512, ge=8, le=MOST_UNITS, description="Hidden units of the LSTM."
    )
    blueprint_embedding: int = Field(
        default=BLUEPRINT_EMBEDDING, ge=1, le=1024, description="Size of the blueprint embedding."
    )
    floors: dict[Name, Annotated[float, Field(ge=0, lt=1)]] = Field(
        default_factory=lambda: {
            "op": 0.15,
            "slot": 0.05,
            "blueprint": 0.12,
            "style": 0.08,
            "tempo": 0.12,
            "alpha_target": 0.08,
            "alpha_speed": 0.06,
            "alpha_curve": 0.06,
        },
        max_length=len(HEADS),
        description="By head, the probability that is spread evenly over its valid choices.",
    )

    @field_validator("floors")
    @classmethod
    def _all_heads(cls, value: dict[str, float]) -> dict[str, float]:
        if set(value) != set(HEADS):
            raise ValueError(f"floors name each head once: {', '.join(HEADS)}")
        return value
