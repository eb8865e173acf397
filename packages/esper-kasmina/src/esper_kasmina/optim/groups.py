"""Optimizers that follow growth: parameters of new seeds join, those of removed ones leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer

from esper_kasmina.checks import check_model, check_rate, shown
from esper_kasmina.errors import KasminaError
from esper_kasmina.optim.group_options import LR_SCALE, SLOT_KEY, find_owner, newborn_options
from esper_kasmina.optim.schedulers import (
    Group,
    Origin,
    check_scheduler,
    find_schedulers,
    follow_groups,
)
from esper_kasmina.optim.sharding import check_sharded, shard_newborn
from esper_kasmina.optim.wrappers import unwrap_optimizer
from esper_kasmina.slots.parallel import check_in_ddp
from esper_kasmina.slots.slot import SeedSlot
from esper_leyline import unknown_name

_NOT_FOR_SEEDS = {
    "LBFGS": "takes one parameter group only, and a seed needs one of its own",
    "Muon": "trains matrices only, and a seed has vectors too",
    "SparseAdam": "trains with sparse gradients only, and those of a seed are dense",
}
"""Optimizers of torch that cannot train seeds, and why."""


def seed_slots(model: nn.Module) -> tuple[SeedSlot, ...]:
    """Returns every slot of a model, in the order in which they were registered.

    Raises:
        KasminaError: If there is no model.
    """
    check_model(model)
    return tuple(module for module in model.modules() if isinstance(module, SeedSlot))


def slots_by_name(slots: Iterable[SeedSlot]) -> dict[str, SeedSlot]:
    """Returns slots by their ids.

    Raises:
        KasminaError: If two of them have the same.
    """
    named: dict[str, SeedSlot] = {}
    for slot in slots:
        if named.setdefault(slot.name, slot) is not slot:
            raise KasminaError(
                f"two slots are called '{slot.name}'; give every slot of a model an id of its own, "
                "such as r0c0 and r1c0"
            )
    return named


def parameter_groups(
    model: nn.Module, seed_options: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Returns parameter groups for an optimizer: the model's own, then one a seed.

    Args:
        model: A model with slots anywhere in it.
        seed_options: Options of the seeds' groups, such as ``{"lr": 0.01}``; the
            optimizer's defaults fill the rest.

    Raises:
        KasminaError: If there is no model, two of its slots have one id, or ``lr_scale`` is among
            the options; no rate is known yet to scale.
    """
    _check_mapping(seed_options)
    if LR_SCALE in (seed_options or {}):
        raise KasminaError(
            f"parameter_groups knows no learning rate that {LR_SCALE} could multiply; "
            "give lr, or make the optimizer first and use sync_optimizer"
        )
    seeds = _seed_parameters(seed_slots(model))
    grown = {id(p) for parameters in seeds.values() for p in parameters}
    own = [p for p in model.parameters() if id(p) not in grown]
    return [
        {"params": own},
        *({**(seed_options or {}), "params": p, SLOT_KEY: name} for name, p in seeds.items()),
    ]


def sync_optimizer(
    optimizer: Optimizer,
    slots: nn.Module | Iterable[SeedSlot],
    seed_options: Mapping[str, Any] | None = None,
    *,
    scheduler: Any = None,
) -> None:
    """Adds the parameters of new seeds to an optimizer and drops those of removed seeds.

    Each seed gets a group of its own, tagged with its slot under ``SLOT_KEY``; no other
    parameter's state is touched. A gate that comes or goes with the blend style joins or
    leaves its seed's group. Seeds that the optimizer was built with move from the group
    they were in to one of their own, with their options and state.

    The group of a new seed takes the options of the group that holds the module behind which the
    seed grows (the first group, where only slots are given). Its learning rate is that
    group's times ``lr_scale``, 1 by default, now and through every schedule. ``lr`` instead
    of ``lr_scale`` means what it means in a group that the optimizer is made with: the rate
    at the top of the schedule. Schedulers of ``torch.optim.lr_scheduler`` are changed along:
    what they keep for a group stays with that group.

    Args:
        optimizer: Any ``torch.optim`` optimizer that allows several groups, or a wrapper
            that holds one as ``optimizer``.
        slots: The model, or every slot that this optimizer trains; its tagged groups
            are taken to belong to these.
        seed_options: What is different in the groups of new seeds, such as ``{"lr_scale": 0.5}`` or
            ``{"lr": 0.01, "weight_decay": 0.0}``.
        scheduler: The optimizer's scheduler or a wrapper of it. Schedulers are found without
            it, unless they are hidden from Python's garbage collector (``gc.freeze``).

    Raises:
        KasminaError: If there is no optimizer where one should be, it allows one group only or
            refuses the seed's parameters, options are no mapping, or one is unknown to the
            optimizer or out of range, or the scheduler is another optimizer's.
    """
    _check_kinds(unwrap_optimizer(optimizer), seed_options)
    if isinstance(slots, nn.Module):
        GroupSync(optimizer, seed_slots(slots), slots, seed_options, scheduler).run()
    else:
        GroupSync(optimizer, _check_slots(slots), None, seed_options, scheduler).run()


class GroupSync:
    """One change of an optimizer's groups, and of the schedulers that depend on them."""

    def __init__(
        self,
        optimizer: Optimizer,
        slots: Iterable[SeedSlot],
        model: nn.Module | None,
        seed_options: Mapping[str, Any] | None,
        scheduler: Any = None,
        *,
        thorough: bool = True,
    ) -> None:
        """Checks the arguments, which are those of ``sync_optimizer``.

        Args:
            optimizer: The optimizer.
            slots: The slots that it trains.
            model: The model that holds them, if that is known.
            seed_options: What is different in the groups of new seeds.
            scheduler: The optimizer's scheduler.
            thorough: Whether to search for schedulers that leave no trace in the groups.
        """
        self._optimizer = unwrap_optimizer(optimizer)
        _check_kinds(self._optimizer, seed_options)
        every = slots_by_name(slots)
        self._slots = {name: slot for name, slot in every.items() if slot.seed is not None}
        self._seeds = _seed_parameters(self._slots.values())
        self._model = model
        self._options = dict(seed_options or {})
        self._scheduler = None if scheduler is None else check_scheduler(scheduler)
        if self._scheduler is not None:
            _check_owner(self._scheduler, self._optimizer)
        self._thorough = thorough
        self._origins: dict[int, Origin] = {}

    def run(self) -> None:
        """Brings the groups, and every scheduler's entries, in step with the seeds."""
        if self._model is not None:
            for slot in self._slots.values():
                assert slot.seed is not None
                check_in_ddp(self._model, slot.seed, slot.name)
            shard_newborn(self._model, self._slots.values())
            self._seeds = _seed_parameters(self._slots.values())
        else:
            check_sharded(self._optimizer, self._slots.values())
        living = {id(p) for parameters in self._seeds.values() for p in parameters}
        if not self._changes(living):
            return
        groups = self._optimizer.param_groups
        before = list(groups)
        schedulers = find_schedulers(self._optimizer, self._scheduler, thorough=self._thorough)
        self._drop_departed(living)
        for name, parameters in self._seeds.items():
            self._separate(name, {id(p) for p in parameters})
            self._join(name, parameters, schedulers, before)
        follow_groups(schedulers, before, groups, self._origins)

    def _changes(self, living: set[int]) -> bool:
        """Whether a seed's parameters are missing, or in a group that is not its own."""
        tagged = {
            (group[SLOT_KEY], id(p))
            for group in self._optimizer.param_groups
            if SLOT_KEY in group
            for p in group["params"]
        }
        wanted = {(name, id(p)) for name, ps in self._seeds.items() for p in ps}
        return tagged != wanted or any(
            id(p) in living
            for group in self._optimizer.param_groups
            if SLOT_KEY not in group
            for p in group["params"]
        )

    def _drop_departed(self, living: set[int]) -> None:
        groups = self._optimizer.param_groups
        for group in groups:
            if SLOT_KEY in group:
                for parameter in group["params"]:
                    if id(parameter) not in living:
                        self._optimizer.state.pop(parameter, None)
                _keep(group, living)
        groups[:] = [group for group in groups if group["params"] or SLOT_KEY not in group]

    def _separate(self, name: str, wanted: set[int]) -> None:
        groups = self._optimizer.param_groups
        for group in list(groups):
            if SLOT_KEY in group or not any(id(p) in wanted for p in group["params"]):
                continue
            others = {id(p) for p in group["params"]} - wanted
            split = {**group, SLOT_KEY: name}
            _keep(split, wanted)
            _keep(group, others)
            groups.append(split)
            self._origins[id(split)] = Origin(owner=group, scale=lambda rate: rate * 1.0)

    def _join(
        self, name: str, parameters: list[Parameter], schedulers: list[Any], before: list[Group]
    ) -> None:
        groups = self._optimizer.param_groups
        present = {id(p) for group in groups for p in group["params"]}
        newborn = [p for p in parameters if id(p) not in present]
        if not newborn:
            return
        for group in groups:
            if group.get(SLOT_KEY) == name:
                group["params"] += newborn
                if "param_names" in group:
                    group["param_names"] += self._named(name, newborn)
                return
        owner = find_owner(groups, self._model, self._slots[name])
        options, origin = newborn_options(owner, before, schedulers, self._options)
        # Torch wants names in every group or in none.
        named = any("param_names" in group for group in groups)
        members = list(zip(self._named(name, newborn), newborn, strict=True)) if named else newborn
        try:
            self._optimizer.add_param_group({**options, "params": members, SLOT_KEY: name})
        except (TypeError, ValueError, RuntimeError) as error:
            raise KasminaError(
                f"the {type(self._optimizer).__name__} does not take the seed in slot '{name}': "
                f"{' '.join(str(error).split())}; train the seeds with another one"
            ) from error
        self._origins[id(groups[-1])] = origin

    def _named(self, slot: str, newborn: list[Parameter]) -> list[str]:
        seed = self._slots[slot].seed
        assert seed is not None
        names = {id(p): f"{slot}.seed.{name}" for name, p in seed.named_parameters()}
        return [names[id(p)] for p in newborn]


def check_optimizer(optimizer: Any) -> None:
    """Checks that something is an optimizer.

    Raises:
        KasminaError: If it is not.
    """
    # Wrappers that only look like an optimizer are welcome.
    if not hasattr(optimizer, "param_groups"):
        raise KasminaError(
            f"the optimizer is a {type(optimizer).__name__}; "
            "give one of torch.optim, which comes first, and then the model"
        )


def _check_takes_seeds(optimizer: Any) -> None:
    for kind in type(optimizer).__mro__:
        reason = _NOT_FOR_SEEDS.get(kind.__name__)
        if reason is not None and kind.__module__.startswith("torch."):
            raise KasminaError(
                f"{kind.__name__} {reason}; give another optimizer of the model, such as AdamW or "
                "SGD"
            )


def _check_kinds(optimizer: Any, seed_options: object) -> None:
    check_optimizer(optimizer)
    _check_takes_seeds(optimizer)
    options = _check_mapping(seed_options)
    # Torch keeps an option that no update reads, so a slip would train by the defaults.
    known = {*getattr(optimizer, "defaults", ()), *chain(*optimizer.param_groups)}
    allowed = sorted((known | {LR_SCALE}) - {"params", "param_names", SLOT_KEY})
    for key, value in options.items():
        if key not in allowed:
            option = f"option of a {type(optimizer).__name__}"
            raise KasminaError(f"seed_options: {unknown_name(option, str(key), allowed)}")
        if key in ("lr", LR_SCALE):
            check_rate(key, value)


def _check_mapping(seed_options: object) -> Mapping[str, Any]:
    if not isinstance(seed_options, Mapping | None):
        raise KasminaError(
            f"seed_options are {shown(seed_options)}; give a mapping, such as {{'lr': 0.01}}"
        )
    return seed_options or {}


def _check_slots(slots: object) -> tuple[SeedSlot, ...]:
    given = tuple(slots) if isinstance(slots, Iterable) else (slots,)
    chosen = tuple(slot for slot in given if isinstance(slot, SeedSlot))
    if len(chosen) < len(given):
        raise KasminaError(f"the slots are {shown(slots)}; give the model, or its SeedSlots")
    return chosen


def _check_owner(scheduler: Any, optimizer: Any) -> None:
    if unwrap_optimizer(scheduler.optimizer) is not optimizer:
        raise KasminaError(
            f"the {type(scheduler).__name__} belongs to another optimizer; give the scheduler of "
            f"this {type(optimizer).__name__}"
        )


def _seed_parameters(slots: Iterable[SeedSlot]) -> dict[str, list[Parameter]]:
    return {
        name: list(slot.seed.parameters())
        for name, slot in slots_by_name(slots).items()
        if slot.seed is not None
    }


def _keep(group: Group, wanted: set[int]) -> None:
    """Drops the other parameters of a group, and their names."""
    kept = [index for index, p in enumerate(group["params"]) if id(p) in wanted]
    for key in ("params", "param_names"):
        if key in group:
            group[key] = [group[key][index] for index in kept]
