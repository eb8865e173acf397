"""Finds the slots of a model."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from esper_kasmina.checks import check_model
from esper_kasmina.errors import KasminaError
from esper_kasmina.slots.slot import SeedSlot


def seed_slots(model: nn.Module) -> tuple[SeedSlot, ...]:
    """Returns every slot of a model, in the order in which they were registered.

    Raises:
        KasminaError: If ``model`` is not a module.
    """
    check_model(model)
    return tuple(module for module in model.modules() if isinstance(module, SeedSlot))


def slots_by_name(slots: Iterable[SeedSlot]) -> dict[str, SeedSlot]:
    """Returns slots by their ids.

    Raises:
        KasminaError: If two slots have the same id.
    """
    named: dict[str, SeedSlot] = {}
    for slot in slots:
        if named.setdefault(slot.name, slot) is not slot:
            raise KasminaError(
                f"two slots are called '{slot.name}'; give every slot of a model an id of its own, "
                "such as r0c0 and r1c0"
            )
    return named
