"""Updates an average of weights (``AveragedModel``) when seeds come and go."""

from __future__ import annotations

import copy

import torch
from torch import nn

from esper_kasmina.errors import KasminaError
from esper_kasmina.slots.lookup import seed_slots, slots_by_name
from esper_kasmina.slots.slot import SeedSlot


@torch.no_grad()
def sync_average(averaged: nn.Module, model: nn.Module) -> None:
    """Gives an average of a model the seeds and the lifecycle that the model has now.

    Call it before ``averaged.update_parameters(model)``, and once more before the average is
    evaluated if it was made with ``use_buffers=True``. A new seed starts with its values in the
    model, and is averaged from then on. A seed that the model has removed is removed. The averages
    of other parameters do not change.

    Args:
        averaged: ``torch.optim.swa_utils.AveragedModel``, or any copy of the model.
        model: The model that is trained.

    Raises:
        KasminaError: If the two do not have the same slots.
    """
    averaged_slots = slots_by_name(seed_slots(averaged))
    model_slots = slots_by_name(seed_slots(model))
    if averaged_slots.keys() != model_slots.keys():
        raise KasminaError(
            f"the average has the slots {', '.join(averaged_slots) or 'none'} and the model "
            f"{', '.join(model_slots) or 'none'}; make the average of the grafted model"
        )
    for name, slot in model_slots.items():
        _sync_slot(averaged_slots[name], slot)


def _sync_slot(averaged: SeedSlot, slot: SeedSlot) -> None:
    """Gives a slot of an average the seed and the lifecycle of the model's slot."""
    averages: dict[str, torch.Tensor] = {}
    if averaged.seed is not None and averaged.germinations == slot.germinations:
        averages = copy.deepcopy(dict(averaged.seed.state_dict()))
    averaged.set_extra_state(slot.get_extra_state())
    if slot.seed is None:
        return
    assert averaged.seed is not None
    values = slot.seed.state_dict()
    # The model's seed may have lost a gate since, with a change of its blend style.
    values |= {name: average for name, average in averages.items() if name in values}
    averaged.seed.load_state_dict(values)
