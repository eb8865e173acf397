"""Writes a slot's lifecycle as JSON into a tensor, for its ``state_dict``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.blueprints import why_unfit
from esper_kasmina.errors import KasminaError
from esper_kasmina.slots.history import STORED
from esper_kasmina.slots.record import SlotRecord
from esper_leyline import OCCUPIED_STAGES, SeedStage

PAGE = 4096
"""The length of the tensor is a multiple of this; without events one page is enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSlot:
    """A slot as its ``state_dict`` describes it.

    Attributes:
        activations: The kind of activations; ``None`` if it is not known yet.
        record: The lifecycle's state and measurements.
        module_path: The submodule after which the slot runs in a grafted model.
    """

    __pydantic_config__ = STORED

    activations: ActivationSpec | None
    record: SlotRecord
    module_path: str | None = None


_STORED_SLOT = TypeAdapter(StoredSlot)
_BLENDED = OCCUPIED_STAGES - {SeedStage.GERMINATED, SeedStage.TRAINING}


def pack(stored: StoredSlot) -> Tensor:
    """Writes a slot's state as JSON into a tensor of bytes, which every file format can store.

    Spaces pad it to whole pages, because ``torch.distributed.checkpoint`` loads only tensors
    of the size that the model has now.
    """
    written = _STORED_SLOT.dump_json(stored)
    pages = -(-len(written) // PAGE)  # rounded up
    return torch.frombuffer(bytearray(written.ljust(pages * PAGE)), dtype=torch.uint8)


def unpack(packed: object, *, slot: str) -> StoredSlot:
    """Reads what ``pack`` wrote.

    Raises:
        KasminaError: If it is the state of another slot, or cannot be read.
    """
    if not isinstance(packed, Tensor) or packed.dtype is not torch.uint8:
        raise _unreadable(slot, "it is not a tensor of bytes")
    try:
        stored = _STORED_SLOT.validate_json(bytes(packed.tolist()))
    except ValidationError as error:
        first = error.errors()[0]
        raise _unreadable(slot, ": ".join((*map(str, first["loc"]), first["msg"]))) from None
    except KasminaError as error:
        raise _unreadable(slot, str(error)) from None
    contradiction = _find_contradiction(stored)
    if contradiction is not None:
        raise _unreadable(slot, contradiction)
    if stored.record.slot != slot:
        raise KasminaError(
            f"slot '{slot}' was given the state of slot '{stored.record.slot}'; "
            "give the model the same slots after the same submodules"
        )
    return stored


def _unreadable(slot: str, reason: str) -> KasminaError:
    return KasminaError(
        f"the state of slot '{slot}' cannot be read ({reason}); "
        "it was written by another version, or is damaged"
    )


def _find_contradiction(stored: StoredSlot) -> str | None:
    """Returns which parts of a state contradict each other, ``None`` if none do."""
    state, known = stored.record.state, stored.activations
    occupied, blended = state.stage in OCCUPIED_STAGES, state.stage in _BLENDED
    parts = (state.blueprint, state.style, state.tempo, state.blend_target)
    if state.stage is SeedStage.UNKNOWN or any((part is None) == occupied for part in parts):
        return f"the seed's description does not fit stage {state.stage.name}"
    if blended != (state.ramp is not None) or (state.pruning and not blended):
        return f"alpha's ramp does not fit stage {state.stage.name}"
    if state.blueprint is not None:
        if known is None:
            return "there is a seed, but its activations are missing"
        return why_unfit(state.blueprint, known.topology)
    return None
