"""Slot identifiers: ``r<row>c<col>``, ordered row-major."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated

from pydantic import StringConstraints

from esper_leyline.errors import LeylineError, show_text

SLOT_PATTERN = r"^r(0|[1-9][0-9]{0,3})c(0|[1-9][0-9]{0,3})$"

SlotId = Annotated[str, StringConstraints(pattern=SLOT_PATTERN)]
"""A slot's name, such as ``r0c1``."""


def parse_slot(slot: str) -> tuple[int, int]:
    """Splits a slot id into its row and column.

    Raises:
        LeylineError: If the text is not of the form ``r<row>c<col>``.
    """
    # Callers without types may give anything.
    match = re.fullmatch(SLOT_PATTERN, slot) if isinstance(slot, str) else None
    if match is None:
        raise LeylineError(
            f"'{show_text(str(slot))}' is not a slot id; write r<row>c<col>, for example r0c1"
        )
    return int(match[1]), int(match[2])


def order_slots(slots: Iterable[str]) -> tuple[str, ...]:
    """Sorts slot ids row-major.

    Raises:
        LeylineError: If an id is malformed or occurs twice.
    """
    ordered = tuple(sorted(slots, key=parse_slot))
    for first, second in pairwise(ordered):
        if first == second:
            raise LeylineError(f"slot '{first}' is named twice; name each slot once")
    return ordered
