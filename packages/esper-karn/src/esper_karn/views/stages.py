"""How every interface marks the stages of a seed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

STAGE_LETTERS: Mapping[str, str] = MappingProxyType(
    {
        "DORMANT": "·",
        "GERMINATED": "G",
        "TRAINING": "T",
        "BLENDING": "B",
        "HOLDING": "H",
        "FOSSILIZED": "F",
        "PRUNED": "P",
        "EMBARGOED": "E",
        "RESETTING": "R",
    }
)
"""One letter for each stage by name, so that colour is never alone."""
