"""Parameter groups of models with seeds, and the change of an optimizer's groups after growth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from esper_kasmina.errors import KasminaError
from esper_kasmina.optim.checks import check_mapping, check_optimizer, check_slots
from esper_kasmina.optim.group_options import LR_SCALE, SLOT_KEY
from esper_kasmina.optim.group_sync import GroupSync, seed_parameters
from esper_kasmina.optim.wrappers import unwrap_optimizer
from esper_kasmina.slots.lookup import seed_slots
from esper_kasmina.slots.slot import SeedSlot


def parameter_groups(
    model: nn.Module, seed_options: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Returns parameter groups for an optimizer: first the model's own, then one for each seed.

    Args:
        model: A model with slots anywhere in it.
        seed_options: Options of the seeds' groups, such as ``{"lr": 0.01}``. Other options take the
            optimizer's defaults.

    Raises:
        KasminaError: If ``model`` is not a module, two of its slots have the same id, or
            ``lr_scale`` is among the options: there is no learning rate yet that it could scale.
    """
    options = check_mapping(seed_options)
    if LR_SCALE in options:
        raise KasminaError(
            f"parameter_groups knows no learning rate that {LR_SCALE} could multiply; "
            "give lr, or make the optimizer first and use sync_optimizer"
        )
    seeds = seed_parameters(seed_slots(model))
    of_seeds = {id(p) for parameters in seeds.values() for p in parameters}
    own = [p for p in model.parameters() if id(p) not in of_seeds]
    return [
        {"params": own},
        *({**options, "params": p, SLOT_KEY: name} for name, p in seeds.items()),
    ]


def sync_optimizer(
    optimizer: Optimizer,
    slots: nn.Module | Iterable[SeedSlot],
    seed_options: Mapping[str, Any] | None = None,
    *,
    scheduler: Any = None,
) -> None:
    """Adds the parameters of new seeds to an optimizer, and removes those of removed seeds.

    Each seed gets a parameter group that stores the id of its slot under ``SLOT_KEY``. The state
    of other parameters is not changed. A gate that is added or removed with the blend style is
    added to or removed from the seed's group. If the optimizer was built with a seed's parameters
    in another group, they are moved to a group of their own, with their options and state.

    The group of a new seed takes the options of the group that holds the module after which the
    seed grows; if only slots are given, those of the first group. Its learning rate is that
    group's times ``lr_scale`` (1 by default), now and in the rest of the schedule. With ``lr``
    instead, its learning rate is ``lr`` at the top of the schedule. The per-group entries of
    schedulers of ``torch.optim.lr_scheduler`` are updated.

    Args:
        optimizer: Any ``torch.optim`` optimizer that allows several groups, or a wrapper that
            holds one as ``optimizer``.
        slots: The model, or every slot that this optimizer trains. Groups of other slots are
            removed.
        seed_options: Options in which the groups of new seeds differ, such as
            ``{"lr_scale": 0.5}`` or ``{"lr": 0.01, "weight_decay": 0.0}``.
        scheduler: The optimizer's scheduler, or a wrapper of it. Schedulers are found without it,
            unless they are hidden from Python's garbage collector (``gc.freeze``).

    Raises:
        KasminaError: If there is no optimizer, it allows one group only or refuses the seed's
            parameters, the options are not a mapping, an option is unknown to the optimizer or out
            of range, or the scheduler is another optimizer's.
    """
    check_optimizer(unwrap_optimizer(optimizer))
    if isinstance(slots, nn.Module):
        GroupSync(optimizer, seed_slots(slots), slots, seed_options, scheduler).run()
    else:
        GroupSync(optimizer, check_slots(slots), None, seed_options, scheduler).run()
