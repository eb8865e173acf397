"""Updates the per-group entries of learning-rate schedulers when parameter groups change."""

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
"""Learning rates in a parameter group: the present one, and those that schedulers store there."""

_RATE_LISTS = ("base_lrs", "max_lrs", "min_lrs", LAST_RATES)
_OTHER_LISTS = ("lr_lambdas", "base_momentums", "max_momentums")
_LISTS = (*_RATE_LISTS, *_OTHER_LISTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSource:
    """Where the entries of a new parameter group in a scheduler come from.

    Attributes:
        group: The group whose schedule the new one follows.
        scale: Maps a learning rate of that group to one of the new group.
    """

    group: Group
    scale: Callable[[Any], Any]


def sync_scheduler(scheduler: Any) -> None:
    """Adds entries to a scheduler for new parameter groups of its optimizer.

    ``sync_optimizer`` updates the schedulers of ``torch.optim`` itself. This function is for groups
    that were added in another way (``optimizer.add_param_group``). Each of them follows the
    schedule of the first group, times the present ratio of the two learning rates. If no entry is
    missing, nothing changes.

    Args:
        scheduler: Any scheduler of ``torch.optim.lr_scheduler``, also one that combines others, or
            a wrapper that holds one as ``scheduler``.

    Raises:
        KasminaError: If it is not a scheduler, or has entries for groups that were removed.
    """
    inner = check_scheduler(scheduler)
    for part in scheduler_parts(inner):
        sync_scheduler(part)
    groups = unwrap_optimizer(inner.optimizer).param_groups
    sources = {id(group): _source_from_first(groups[0], group) for group in groups[1:]}
    for group in groups[1:]:
        for key, value in groups[0].items():
            if key not in group:
                group[key] = sources[id(group)].scale(value) if key in RATE_KEYS else value
    known = _count_entries(inner, groups)
    update_schedulers([inner], groups[:known], groups, sources)


def check_scheduler(scheduler: Any) -> Any:
    """Returns the scheduler inside its wrappers.

    Raises:
        KasminaError: If it is not a scheduler.
    """
    inner = unwrap_scheduler(scheduler)
    if not hasattr(getattr(inner, "optimizer", None), "param_groups"):
        raise KasminaError(
            f"the scheduler is a {type(scheduler).__name__}; give one of "
            "torch.optim.lr_scheduler, or a wrapper with one as its attribute 'scheduler'"
        )
    return inner


def find_schedulers(optimizer: Any, given: Any = None, *, thorough: bool = True) -> list[Any]:
    """Returns the schedulers of an optimizer: the given one, and all others that exist.

    An optimizer does not refer to its schedulers. They are searched among the objects that
    Python's garbage collector tracks, which takes some hundredths of a second.

    Args:
        optimizer: The optimizer, without wrappers.
        given: A scheduler or a wrapper of one.
        thorough: Whether to search even if no group has the key ``initial_lr``, which every
            scheduler except ``ReduceLROnPlateau`` adds to the groups.
    """
    found = [] if given is None else _with_parts(check_scheduler(given))
    if thorough or any("initial_lr" in group for group in optimizer.param_groups):
        found += [each for each in gc.get_objects() if issubclass(type(each), LRScheduler)]
    unique = {id(each): each for each in found}.values()
    return [s for s in unique if unwrap_optimizer(getattr(s, "optimizer", None)) is optimizer]


def update_schedulers(
    schedulers: Iterable[Any],
    before: Sequence[Group],
    after: Sequence[Group],
    sources: Mapping[int, GroupSource],
) -> None:
    """Updates those lists of schedulers that have one entry for each parameter group.

    Args:
        schedulers: The schedulers of one optimizer.
        before: The groups to which the entries belong now.
        after: The groups of the optimizer.
        sources: Where the entries of new groups come from, by ``id`` of the group.
    """
    positions = {id(group): index for index, group in enumerate(before)}

    def entry(entries: Sequence[Any], group: Group, *, scaled: bool) -> Any:
        if id(group) in positions:
            return entries[positions[id(group)]]
        source = sources[id(group)]
        value = entry(entries, source.group, scaled=scaled)
        return source.scale(value) if scaled else value

    for scheduler in schedulers:
        for name in _LISTS:
            entries = vars(scheduler).get(name)
            if isinstance(entries, list) and len(entries) == len(before):
                scaled = name in _RATE_LISTS
                # A new list, because a saved state_dict holds the old one.
                setattr(scheduler, name, [entry(entries, g, scaled=scaled) for g in after])


def peak_rate(group: Group, groups: Sequence[Group], schedulers: Iterable[Any]) -> Any:
    """Returns a group's learning rate at the top of its schedule.

    That is ``max_lr`` with ``OneCycleLR`` and ``CyclicLR``, the initial learning rate with other
    schedulers, and the present learning rate without a scheduler.
    """
    rate = group.get("max_lr", group.get("initial_lr", group["lr"]))
    for scheduler in schedulers:
        rates = getattr(scheduler, "max_lrs", None)
        if isinstance(rates, list) and len(rates) == len(groups):
            rate = next(r for r, each in zip(rates, groups, strict=True) if each is group)
    return rate


def _with_parts(scheduler: Any) -> list[Any]:
    """Returns a scheduler and those that it combines."""
    inner = (each for part in scheduler_parts(scheduler) for each in _with_parts(part))
    return [scheduler, *inner]


def _source_from_first(first: Group, group: Group) -> GroupSource:
    factor = group["lr"] / first["lr"] if first["lr"] else 1.0
    return GroupSource(group=first, scale=lambda rate: factor * rate)


def _count_entries(scheduler: Any, groups: Sequence[Group]) -> int:
    """Returns for how many groups a scheduler's lists have entries."""
    lists = [vars(scheduler).get(name) for name in _LISTS]
    lengths = {len(each) for each in lists if isinstance(each, list)} or {len(groups)}
    if max(lengths) > len(groups):
        raise KasminaError(
            f"the {type(scheduler).__name__} has entries for {max(lengths)} parameter groups and "
            f"its optimizer has {len(groups)}; give it to sync_optimizer(..., scheduler=...) when "
            "groups are removed, so that it is known which"
        )
    return min(lengths)
