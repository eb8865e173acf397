"""Optimisers that follow growth: newborn parameters join, removed ones leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch.nn import Parameter
from torch.optim import Optimizer

from esper_kasmina.slot import SeedSlot

SLOT_KEY = "esper_slot"
"""Key under which a parameter group names the slot of its seed."""


def sync_optimizer(
    optimizer: Optimizer,
    slots: Iterable[SeedSlot],
    seed_options: Mapping[str, Any] | None = None,
) -> None:
    """Adds newborn seeds' parameters to an optimiser and drops removed ones'.

    Each seed gets a group of its own, tagged with its slot under ``SLOT_KEY``; no other
    parameter's state is touched. Seeds that the optimiser was built with move from the
    group they were in to one of their own, with their options and state.

    Args:
        optimizer: Any ``torch.optim`` optimiser that allows several groups.
        slots: Every slot of the model that this optimiser trains; its tagged groups
            are taken to belong to these.
        seed_options: Options for newborn groups, such as ``{"lr": 0.01}``; the
            optimiser's defaults fill the rest.
    """
    seeds = {slot.name: list(slot.seed.parameters()) for slot in slots if slot.seed is not None}
    _drop_departed(optimizer, {id(p) for parameters in seeds.values() for p in parameters})
    present = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, parameters in seeds.items():
        if any(id(p) in present for p in parameters):
            _separate(optimizer, name, {id(p) for p in parameters})
        else:
            optimizer.add_param_group(
                {**(seed_options or {}), "params": parameters, SLOT_KEY: name}
            )


def _drop_departed(optimizer: Optimizer, living: set[int]) -> None:
    departed = [
        group
        for group in optimizer.param_groups
        if SLOT_KEY in group and not any(id(p) in living for p in group["params"])
    ]
    for group in departed:
        _forget(optimizer, group["params"])
    optimizer.param_groups[:] = [
        group for group in optimizer.param_groups if all(group is not gone for gone in departed)
    ]


def _forget(optimizer: Optimizer, parameters: Iterable[Parameter]) -> None:
    for parameter in parameters:
        optimizer.state.pop(parameter, None)


def _separate(optimizer: Optimizer, name: str, wanted: set[int]) -> None:
    for group in list(optimizer.param_groups):
        if SLOT_KEY in group:
            continue
        mine = [p for p in group["params"] if id(p) in wanted]
        if mine:
            group["params"] = [p for p in group["params"] if id(p) not in wanted]
            optimizer.param_groups.append({**group, "params": mine, SLOT_KEY: name})
