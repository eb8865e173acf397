"""The options of a new seed's parameter group: those of the group that its slot belongs to."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from esper_kasmina._torch import forward_hooks
from esper_kasmina.errors import KasminaError
from esper_kasmina.optim.schedulers import RATE_KEYS, Group, Origin, full_rate
from esper_kasmina.slots.slot import SeedSlot

SLOT_KEY = "esper_slot"
"""Key under which a parameter group names the slot of its seed."""

LR_SCALE = "lr_scale"
"""Option of a seed's group: its learning rate over that of its host's group."""


def find_owner(groups: Sequence[Group], model: nn.Module | None, slot: SeedSlot) -> Group:
    """Returns the parameter group that holds the module whose output a slot takes.

    Where that module has parameters in several groups, it is the group with most of them;
    where it has none, the module beside it, before it first, then those around it.

    Args:
        groups: The optimizer's groups.
        model: Holds the slot; ``None`` takes the first group that is not a seed's.
        slot: The slot.
    """
    own = [group for group in groups if SLOT_KEY not in group and group["params"]]
    if not own:
        return groups[0]
    of_parameter = {id(p): index for index, group in enumerate(own) for p in group["params"]}
    for module in () if model is None else _nearest_modules(model, slot):
        sizes: Counter[int] = Counter()
        for parameter in module.parameters():
            if id(parameter) in of_parameter:
                sizes[of_parameter[id(parameter)]] += parameter.numel()
        if sizes:
            return own[sizes.most_common(1)[0][0]]
    return own[0]


def newborn_options(
    owner: Group, groups: Sequence[Group], schedulers: Iterable[Any], given: Mapping[str, Any]
) -> tuple[Group, Origin]:
    """Returns the options of a new seed's group, and how schedulers continue with it.

    Args:
        owner: The group whose options and schedule it takes over.
        groups: All groups of the optimizer.
        schedulers: All schedulers of the optimizer.
        given: What is to be different: ``lr_scale`` times the owner's rate, or ``lr``, the
            rate where the owner's is at the top of its schedule; any other option as it is.
    """
    scale = _rate_scale(owner, groups, schedulers, given)
    left_out = {"params", "param_names", SLOT_KEY}
    options = copy.deepcopy({k: v for k, v in owner.items() if k not in left_out})
    for key in RATE_KEYS:
        if options.get(key) is not None:
            options[key] = scale(options[key])
    options |= {key: value for key, value in given.items() if key not in ("lr", LR_SCALE)}
    return options, Origin(owner=owner, scale=scale)


def _rate_scale(
    owner: Group, groups: Sequence[Group], schedulers: Iterable[Any], given: Mapping[str, Any]
) -> Callable[[Any], Any]:
    if "lr" in given and LR_SCALE in given:
        raise KasminaError(
            f"seed_options have lr={given['lr']!r} and {LR_SCALE}={given[LR_SCALE]!r}; give one: "
            "a rate, or a factor of the host group's rate"
        )
    if "lr" not in given:
        factor = given.get(LR_SCALE, 1.0)
        return lambda rate: factor * rate
    wanted, full = given["lr"], full_rate(owner, groups, schedulers)
    # Division last would round; where the host is at its full rate the seed gets ``lr`` exactly.
    return lambda rate: wanted * (rate / full) if full else wanted * 1.0


def _nearest_modules(model: nn.Module, slot: SeedSlot) -> Iterator[nn.Module]:
    """Yields modules of a model by their distance from a slot."""
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
