"""Checks of optimizers, and of the options for parameter groups of seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from esper_kasmina.checks import check_rate, shown
from esper_kasmina.errors import KasminaError
from esper_kasmina.optim.group_options import LR_SCALE, SLOT_KEY
from esper_kasmina.optim.wrappers import unwrap_optimizer
from esper_kasmina.slots.slot import SeedSlot
from esper_leyline import unknown_name

_CANNOT_TRAIN_SEEDS = {
    "LBFGS": "takes one parameter group only, and a seed needs one of its own",
    "Muon": "trains matrices only, and a seed has vectors too",
    "SparseAdam": "trains with sparse gradients only, and those of a seed are dense",
}
"""Optimizers of torch that cannot train seeds, and why."""


def check_optimizer(optimizer: Any) -> None:
    """Checks that an object has parameter groups, as optimizers and their wrappers have.

    Raises:
        KasminaError: If it has none.
    """
    if not hasattr(optimizer, "param_groups"):
        raise KasminaError(
            f"the optimizer is a {type(optimizer).__name__}; "
            "give one of torch.optim, which comes first, and then the model"
        )


def check_optimizer_of_seeds(optimizer: Any, seed_options: object) -> None:
    """Checks that an optimizer can train seeds, and the options of their groups.

    Args:
        optimizer: The optimizer, without wrappers.
        seed_options: Options of the groups of new seeds.

    Raises:
        KasminaError: If the optimizer is none or cannot train seeds, or if an option is unknown to
            it or out of range.
    """
    check_optimizer(optimizer)
    for kind in type(optimizer).__mro__:
        reason = _CANNOT_TRAIN_SEEDS.get(kind.__name__)
        if reason is not None and kind.__module__.startswith("torch."):
            raise KasminaError(
                f"{kind.__name__} {reason}; give another optimizer of the model, such as AdamW or "
                "SGD"
            )
    options = check_mapping(seed_options)
    # Torch stores unknown options and does not read them, so a misspelt one would have no effect.
    known = {*getattr(optimizer, "defaults", ()), *chain(*optimizer.param_groups)}
    allowed = sorted((known | {LR_SCALE}) - {"params", "param_names", SLOT_KEY})
    for key, value in options.items():
        if key not in allowed:
            option = f"option of a {type(optimizer).__name__}"
            raise KasminaError(f"seed_options: {unknown_name(option, str(key), allowed)}")
        if key in ("lr", LR_SCALE):
            check_rate(key, value)


def check_mapping(seed_options: object) -> Mapping[str, Any]:
    """Returns the options of seeds' groups, an empty mapping for ``None``.

    Raises:
        KasminaError: If they are not a mapping.
    """
    if not isinstance(seed_options, Mapping | None):
        raise KasminaError(
            f"seed_options are {shown(seed_options)}; give a mapping, such as {{'lr': 0.01}}"
        )
    return seed_options or {}


def check_slots(slots: object) -> tuple[SeedSlot, ...]:
    """Returns slots as a tuple.

    Raises:
        KasminaError: If one of them is not a slot.
    """
    given = tuple(slots) if isinstance(slots, Iterable) else (slots,)
    checked = tuple(slot for slot in given if isinstance(slot, SeedSlot))
    if len(checked) < len(given):
        raise KasminaError(f"the slots are {shown(slots)}; give the model, or its SeedSlots")
    return checked


def check_scheduler_of(scheduler: Any, optimizer: Any) -> None:
    """Checks that a scheduler changes the learning rates of an optimizer.

    Raises:
        KasminaError: If it changes those of another optimizer.
    """
    if unwrap_optimizer(scheduler.optimizer) is not optimizer:
        raise KasminaError(
            f"the {type(scheduler).__name__} belongs to another optimizer; give the scheduler of "
            f"this {type(optimizer).__name__}"
        )
