"""The stages of a seed's life and the moves between them, as data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType


class SeedStage(IntEnum):
    """The stage of a slot. The numbers are part of the wire format; 5 is unused."""

    UNKNOWN = 0
    DORMANT = 1
    GERMINATED = 2
    TRAINING = 3
    BLENDING = 4
    HOLDING = 6
    FOSSILIZED = 7
    PRUNED = 8
    EMBARGOED = 9
    RESETTING = 10


STAGE_ORDER: tuple[SeedStage, ...] = tuple(SeedStage)
"""Position of each stage in one-hot encodings (width 10)."""

TRANSITIONS: Mapping[SeedStage, frozenset[SeedStage]] = MappingProxyType(
    {
        SeedStage.UNKNOWN: frozenset(),
        SeedStage.DORMANT: frozenset({SeedStage.GERMINATED}),
        SeedStage.GERMINATED: frozenset({SeedStage.TRAINING, SeedStage.PRUNED}),
        SeedStage.TRAINING: frozenset({SeedStage.BLENDING, SeedStage.PRUNED}),
        SeedStage.BLENDING: frozenset({SeedStage.HOLDING, SeedStage.PRUNED}),
        SeedStage.HOLDING: frozenset({SeedStage.FOSSILIZED, SeedStage.BLENDING, SeedStage.PRUNED}),
        SeedStage.FOSSILIZED: frozenset(),
        SeedStage.PRUNED: frozenset({SeedStage.EMBARGOED}),
        SeedStage.EMBARGOED: frozenset({SeedStage.RESETTING}),
        SeedStage.RESETTING: frozenset({SeedStage.DORMANT}),
    }
)
"""Every stage a seed may enter next; anything else is illegal."""

ACTIVE_STAGES = frozenset(
    {SeedStage.TRAINING, SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED}
)
"""Stages in which the seed's module takes part in the forward pass."""

LIVE_STAGES = frozenset(
    {SeedStage.GERMINATED, SeedStage.TRAINING, SeedStage.BLENDING, SeedStage.HOLDING}
)
"""Stages in which a seed exists and may still be pruned."""

OCCUPIED_STAGES = LIVE_STAGES | {SeedStage.FOSSILIZED}
"""Stages in which the slot holds a module."""
