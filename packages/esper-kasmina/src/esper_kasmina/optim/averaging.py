"""Averages of weights (``AveragedModel``) that follow growth."""

from __future__ import annotations

import copy

import torch
from torch import nn

from esper_kasmina.errors import KasminaError
from esper_kasmina.optim.groups import seed_slots, slots_by_name
from esper_kasmina.slots.slot import SeedSlot


@torch.no_grad()
def sync_average(averaged: nn.Module, model: nn.Module) -> None:
    """Gives an average of a model the seeds and the lifecycle that the model has now.

    Call it before ``averaged.update_parameters(model)``, and once more before the average is
    evaluated if it was made with ``use_buffers=True``. A new seed joins with the values it
    has in the model and is averaged from then on; a removed one leaves. The averages of all
    other parameters stay as they are.

    Args:
        averaged: ``torch.optim.swa_utils.AveragedModel``, or any copy of the model.
        model: The model that is trained.

    Raises:
        KasminaError: If the two do not have the same slots.
    """
    theirs = slots_by_name(seed_slots(averaged))
    ours = slots_by_name(seed_slots(model))
    if theirs.keys() != ours.keys():
        raise KasminaError(
            f"the average has the slots {', '.join(theirs) or 'none'} and the model "
            f"{', '.join(ours) or 'none'}; make the average of the grafted model"
        )
    for name, slot in ours.items():
        _follow(theirs[name], slot)


def _follow(average: SeedSlot, slot: SeedSlot) -> None:
    """Brings one slot of an average in step."""
    known = {} if average.seed is None else dict(average.seed.state_dict())
    same_birth = average.births == slot.births
    kept = copy.deepcopy(known) if same_birth else {}
    average.set_extra_state(slot.get_extra_state())
    if slot.seed is None:
        return
    assert average.seed is not None
    average.seed.load_state_dict({**slot.seed.state_dict(), **_fitting(kept, slot)})


def _fitting(kept: dict[str, torch.Tensor], slot: SeedSlot) -> dict[str, torch.Tensor]:
    """Drops what the seed no longer has, such as a gate that has gone with its blend style."""
    assert slot.seed is not None
    names = slot.seed.state_dict().keys()
    return {name: value for name, value in kept.items() if name in names}
