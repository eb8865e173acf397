"""The options of a new seed's parameter group, taken from the group of the module before it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from esper_kasmina._torch import forward_hooks
from esper_kasmina.errors import KasminaError
from esper_kasmina.optim.schedulers import RATE_KEYS, Group, GroupSource, peak_rate
from esper_kasmina.slots.slot import SeedSlot

SLOT_KEY = "esper_slot"
"""Key under which a seed's parameter group stores the id of its slot."""

LR_SCALE = "lr_scale"
"""Option of a seed's group: its learning rate divided by that of the host's group."""


def find_host_group(groups: Sequence[Group], model: nn.Module | None, slot: SeedSlot) -> Group:
    """Returns the parameter group that holds the module whose output a slot takes.

    If that module has parameters in several groups, it is the group with most of them. If it has
    none, other modules are tried: its siblings, those before it first, and then the siblings of
    its parents.

    Args:
        groups: The optimizer's groups.
        model: The model that holds the slot; ``None`` takes the first group that is not a seed's.
        slot: The slot.
    """
    own = [group for group in groups if SLOT_KEY not in group and group["params"]]
    if not own:
        return groups[0]
    group_index = {id(p): index for index, group in enumerate(own) for p in group["params"]}
    for module in () if model is None else _nearest_modules(model, slot):
        sizes: Counter[int] = Counter()
        for parameter in module.parameters():
            if id(parameter) in group_index:
                sizes[group_index[id(parameter)]] += parameter.numel()
        if sizes:
            return own[sizes.most_common(1)[0][0]]
    return own[0]


def new_group_options(
    host_group: Group, groups: Sequence[Group], schedulers: Iterable[Any], given: Mapping[str, Any]
) -> tuple[Group, GroupSource]:
    """Returns the options of a new seed's group, and where its entries in schedulers come from.

    Args:
        host_group: The group whose options and schedule the new group takes.
        groups: All groups of the optimizer.
        schedulers: All schedulers of the optimizer.
        given: Options that differ. ``lr_scale`` is a factor of the host group's learning rate.
            ``lr`` is the learning rate at the top of the schedule.
    """
    scale = _rate_scale(host_group, groups, schedulers, given)
    left_out = {"params", "param_names", SLOT_KEY}
    options = copy.deepcopy({k: v for k, v in host_group.items() if k not in left_out})
    for key in RATE_KEYS:
        if options.get(key) is not None:
            options[key] = scale(options[key])
    options |= {key: value for key, value in given.items() if key not in ("lr", LR_SCALE)}
    return options, GroupSource(group=host_group, scale=scale)


def _rate_scale(
    host_group: Group, groups: Sequence[Group], schedulers: Iterable[Any], given: Mapping[str, Any]
) -> Callable[[Any], Any]:
    """Returns the function that maps a learning rate of the host's group to the seed's."""
    if "lr" in given and LR_SCALE in given:
        raise KasminaError(
            f"seed_options have lr={given['lr']!r} and {LR_SCALE}={given[LR_SCALE]!r}; give one: "
            "a rate, or a factor of the host group's rate"
        )
    if "lr" not in given:
        factor = given.get(LR_SCALE, 1.0)
        return lambda rate: factor * rate
    lr, peak = given["lr"], peak_rate(host_group, groups, schedulers)
    # The division comes first: at the peak it is exactly 1, so that the seed gets ``lr`` exactly.
    return lambda rate: lr * (rate / peak) if peak else lr * 1.0


def _nearest_modules(model: nn.Module, slot: SeedSlot) -> Iterator[nn.Module]:
    """Yields modules of a model, those nearest to a slot first."""
    path = ""
    for name, module in model.named_modules():
        hooks = forward_hooks(module).values()
        if any(getattr(hook, "slot", None) is slot for hook in hooks):
            yield module
            path = name
            break
        if module is slot:
            path = name
    while path:
        parent, _, child = path.rpartition(".")
        children = dict(model.get_submodule(parent).named_children())
        names = list(children)
        index = names.index(child)
        for name in (*reversed(names[:index]), *names[index + 1 :]):
            yield children[name]
        path = parent
