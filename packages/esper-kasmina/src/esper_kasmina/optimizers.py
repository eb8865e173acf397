"""Optimisers that follow growth: newborn parameters join, removed ones leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer

from esper_kasmina.errors import KasminaError
from esper_kasmina.slot import SeedSlot
from esper_leyline import unknown_name

SLOT_KEY = "esper_slot"
"""Key under which a parameter group names the slot of its seed."""


def seed_slots(model: nn.Module) -> tuple[SeedSlot, ...]:
    """Returns every slot of a model, in the order in which they were registered."""
    return tuple(module for module in model.modules() if isinstance(module, SeedSlot))


def parameter_groups(
    model: nn.Module, seed_options: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Returns parameter groups for an optimiser: the model's own, then one a seed.

    Args:
        model: A model with slots anywhere in it.
        seed_options: Options of the seeds' groups, such as ``{"lr": 0.01}``; the
            optimiser's defaults fill the rest.
    """
    seeds = _seed_parameters(seed_slots(model))
    grown = {id(p) for parameters in seeds.values() for p in parameters}
    own = [p for p in model.parameters() if id(p) not in grown]
    return [
        {"params": own},
        *(_tagged(name, parameters, seed_options) for name, parameters in seeds.items()),
    ]


def sync_optimizer(
    optimizer: Optimizer,
    slots: nn.Module | Iterable[SeedSlot],
    seed_options: Mapping[str, Any] | None = None,
) -> None:
    """Adds newborn seeds' parameters to an optimiser and drops removed ones'.

    Each seed gets a group of its own, tagged with its slot under ``SLOT_KEY``; no other
    parameter's state is touched. A gate that comes or goes with the blend style joins or
    leaves its seed's group. Seeds that the optimiser was built with move from the group
    they were in to one of their own, with their options and state.

    Args:
        optimizer: Any ``torch.optim`` optimiser that allows several groups.
        slots: The model, or every slot that this optimiser trains; its tagged groups
            are taken to belong to these.
        seed_options: Options for newborn groups, such as ``{"lr": 0.01}``; the
            optimiser's defaults fill the rest.

    Raises:
        KasminaError: If there is no optimiser where one should be, options are no mapping, or
            one is unknown to the optimiser.
    """
    _check_kinds(optimizer, seed_options)
    found = seed_slots(slots) if isinstance(slots, nn.Module) else slots
    seeds = _seed_parameters(found)
    _drop_departed(optimizer, {id(p) for parameters in seeds.values() for p in parameters})
    for name, parameters in seeds.items():
        _separate(optimizer, name, {id(p) for p in parameters})
        _join(optimizer, name, parameters, seed_options)


def _check_kinds(optimizer: object, seed_options: object) -> None:
    # Wrappers that only look like an optimiser are welcome.
    if not hasattr(optimizer, "param_groups"):
        raise KasminaError(
            f"the optimizer is a {type(optimizer).__name__}; "
            "give one of torch.optim, which comes first, and then the model"
        )
    if not isinstance(seed_options, Mapping | None):
        raise KasminaError(
            f"seed_options are {seed_options!r}; give a mapping, such as {{'lr': 0.01}}"
        )
    # Torch keeps an option that no update reads, so a slip would train by the defaults.
    known = {*getattr(optimizer, "defaults", ()), *chain(*optimizer.param_groups)}
    allowed = sorted(known - {"params", SLOT_KEY})
    for key in seed_options or ():
        if key not in allowed:
            option = f"option of a {type(optimizer).__name__}"
            raise KasminaError(f"seed_options: {unknown_name(option, str(key), allowed)}")


def _seed_parameters(slots: Iterable[SeedSlot]) -> dict[str, list[Parameter]]:
    return {slot.name: list(slot.seed.parameters()) for slot in slots if slot.seed is not None}


def _tagged(
    name: str, parameters: list[Parameter], options: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {**(options or {}), "params": parameters, SLOT_KEY: name}


def _drop_departed(optimizer: Optimizer, living: set[int]) -> None:
    for group in optimizer.param_groups:
        if SLOT_KEY in group:
            for parameter in group["params"]:
                if id(parameter) not in living:
                    optimizer.state.pop(parameter, None)
            group["params"] = [p for p in group["params"] if id(p) in living]
    optimizer.param_groups[:] = [
        group for group in optimizer.param_groups if group["params"] or SLOT_KEY not in group
    ]


def _separate(optimizer: Optimizer, name: str, wanted: set[int]) -> None:
    for group in list(optimizer.param_groups):
        if SLOT_KEY in group:
            continue
        mine = [p for p in group["params"] if id(p) in wanted]
        if mine:
            group["params"] = [p for p in group["params"] if id(p) not in wanted]
            optimizer.param_groups.append({**group, "params": mine, SLOT_KEY: name})


def _join(
    optimizer: Optimizer,
    name: str,
    parameters: list[Parameter],
    seed_options: Mapping[str, Any] | None,
) -> None:
    present = {id(p) for group in optimizer.param_groups for p in group["params"]}
    newborn = [p for p in parameters if id(p) not in present]
    if not newborn:
        return
    for group in optimizer.param_groups:
        if group.get(SLOT_KEY) == name:
            group["params"] += newborn
            return
    optimizer.add_param_group(_tagged(name, newborn, seed_options))
