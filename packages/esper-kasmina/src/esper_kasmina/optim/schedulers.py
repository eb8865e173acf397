"""Learning-rate schedulers that follow growth."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from esper_kasmina._torch import LAST_RATES, scheduler_parts
from esper_kasmina.errors import KasminaError
from esper_kasmina.optim.wrappers import unwrap_optimizer, unwrap_scheduler

Group = dict[str, Any]

RATE_KEYS = ("lr", "initial_lr", "max_lr", "min_lr", "swa_lr")
"""Learning rates in a parameter group: the one now, and those that schedulers keep there."""

_RATE_LISTS = ("base_lrs", "max_lrs", "min_lrs", LAST_RATES)
_OTHER_LISTS = ("lr_lambdas", "base_momentums", "max_momentums")
_LISTS = (*_RATE_LISTS, *_OTHER_LISTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a new parameter group's entries in a scheduler come from.

    Attributes:
        owner: The group whose schedule the new one follows.
        scale: Multiplies a learning rate by the new group's factor.
    """

    owner: Group
    scale: Callable[[Any], Any]


def sync_scheduler(scheduler: Any) -> None:
    """Gives a scheduler entries for the groups that its optimizer has gained.

    ``sync_optimizer`` changes the schedulers of ``torch.optim`` automatically. This is for groups
    that were added in another way (``optimizer.add_param_group``): each follows the first
    group, by the ratio of the two learning rates now. Called when nothing is missing, it
    changes nothing.

    Args:
        scheduler: Any scheduler of ``torch.optim.lr_scheduler``, compound ones included, or
            a wrapper that holds one as ``scheduler``.

    Raises:
        KasminaError: If it is no scheduler, or has entries for groups that are gone.
    """
    inner = check_scheduler(scheduler)
    for part in scheduler_parts(inner):
        sync_scheduler(part)
    groups = unwrap_optimizer(inner.optimizer).param_groups
    origins = {id(group): _first_origin(groups[0], group) for group in groups[1:]}
    for group in groups[1:]:
        for key, value in groups[0].items():
            if key not in group:
                group[key] = origins[id(group)].scale(value) if key in RATE_KEYS else value
    known = _entries(inner, groups)
    follow_groups([inner], groups[:known], groups, origins)


def check_scheduler(scheduler: Any) -> Any:
    """Returns the scheduler inside its wrappers.

    Raises:
        KasminaError: If it is no scheduler.
    """
    inner = unwrap_scheduler(scheduler)
    if not hasattr(getattr(inner, "optimizer", None), "param_groups"):
        raise KasminaError(
            f"the scheduler is a {type(scheduler).__name__}; give one of "
            "torch.optim.lr_scheduler, or a wrapper with one as its attribute 'scheduler'"
        )
    return inner


def find_schedulers(optimizer: Any, given: Any = None, *, thorough: bool = True) -> list[Any]:
    """Returns the schedulers of an optimizer: those given, and all others that are alive.

    An optimizer does not know its schedulers. They are searched among the objects that
    Python's garbage collector tracks, which takes some hundredths of a second.

    Args:
        optimizer: The optimizer, without wrappers.
        given: A scheduler or a wrapper of one.
        thorough: Whether to search although no group has an ``initial_lr``, the key that
            every scheduler but ``ReduceLROnPlateau`` leaves there.
    """
    found = [] if given is None else _parts(check_scheduler(given))
    if thorough or any("initial_lr" in group for group in optimizer.param_groups):
        found += [each for each in gc.get_objects() if issubclass(type(each), LRScheduler)]
    unique = {id(each): each for each in found}.values()
    return [s for s in unique if unwrap_optimizer(getattr(s, "optimizer", None)) is optimizer]


def follow_groups(
    schedulers: Iterable[Any],
    before: Sequence[Group],
    after: Sequence[Group],
    origins: Mapping[int, Origin],
) -> None:
    """Changes schedulers' lists with one entry a group as the groups have changed.

    Args:
        schedulers: The schedulers of one optimizer.
        before: The groups that their lists stand for.
        after: The groups now.
        origins: Where the entries of new groups come from, by ``id`` of the group.
    """
    positions = {id(group): index for index, group in enumerate(before)}

    def entry(entries: Sequence[Any], group: Group, *, scaled: bool) -> Any:
        if id(group) in positions:
            return entries[positions[id(group)]]
        origin = origins[id(group)]
        value = entry(entries, origin.owner, scaled=scaled)
        return origin.scale(value) if scaled else value

    for scheduler in schedulers:
        for name in _LISTS:
            entries = vars(scheduler).get(name)
            if isinstance(entries, list) and len(entries) == len(before):
                scaled = name in _RATE_LISTS
                # A new list, because a saved state_dict holds the old one.
                setattr(scheduler, name, [entry(entries, g, scaled=scaled) for g in after])


def full_rate(owner: Group, groups: Sequence[Group], schedulers: Iterable[Any]) -> Any:
    """Returns a group's learning rate at the top of its schedule.

    That is ``max_lr`` under ``OneCycleLR`` and ``CyclicLR``, the initial rate, which the
    schedule multiplies, under the others, and the rate now without a scheduler.
    """
    rate = owner.get("max_lr", owner.get("initial_lr", owner["lr"]))
    for scheduler in schedulers:
        rates = getattr(scheduler, "max_lrs", None)
        if isinstance(rates, list) and len(rates) == len(groups):
            rate = next(r for r, group in zip(rates, groups, strict=True) if group is owner)
    return rate


def _parts(scheduler: Any) -> list[Any]:
    inner = (each for part in scheduler_parts(scheduler) for each in _parts(part))
    return [scheduler, *inner]


def _first_origin(first: Group, group: Group) -> Origin:
    factor = group["lr"] / first["lr"] if first["lr"] else 1.0
    return Origin(owner=first, scale=lambda rate: factor * rate)


def _entries(scheduler: Any, groups: Sequence[Group]) -> int:
    """Returns how many groups a scheduler's lists stand for."""
    lists = [vars(scheduler).get(name) for name in _LISTS]
    lengths = {len(each) for each in lists if isinstance(each, list)} or {len(groups)}
    if max(lengths) > len(groups):
        raise KasminaError(
            f"the {type(scheduler).__name__} has entries for {max(lengths)} parameter groups and "
            f"its optimizer has {len(groups)}; give it to sync_optimizer(..., scheduler=...) when "
            "groups go, so that it is known which"
        )
    return min(lengths)
