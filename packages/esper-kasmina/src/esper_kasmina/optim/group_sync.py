"""Changes the parameter groups of an optimizer, and its schedulers, after seeds came or went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer

from esper_kasmina.errors import KasminaError
from esper_kasmina.optim.checks import check_optimizer_of_seeds, check_scheduler_of
from esper_kasmina.optim.group_options import SLOT_KEY, find_host_group, new_group_options
from esper_kasmina.optim.schedulers import (
    Group,
    GroupSource,
    check_scheduler,
    find_schedulers,
    update_schedulers,
)
from esper_kasmina.optim.sharding import check_sharded, shard_new_seeds
from esper_kasmina.optim.wrappers import unwrap_optimizer
from esper_kasmina.slots.lookup import slots_by_name
from esper_kasmina.slots.parallel import check_in_ddp
from esper_kasmina.slots.slot import SeedSlot


def seed_parameters(slots: Iterable[SeedSlot]) -> dict[str, list[Parameter]]:
    """Returns the parameters of every seed, by slot id."""
    return {
        name: list(slot.seed.parameters())
        for name, slot in slots_by_name(slots).items()
        if slot.seed is not None
    }


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
            model: The model that holds them, ``None`` if it is not known.
            seed_options: Options in which the groups of new seeds differ.
            scheduler: The optimizer's scheduler.
            thorough: Whether to search for schedulers even if no group has an entry that most
                schedulers leave there (see ``find_schedulers``).
        """
        self._optimizer = unwrap_optimizer(optimizer)
        check_optimizer_of_seeds(self._optimizer, seed_options)
        every = slots_by_name(slots)
        self._slots = {name: slot for name, slot in every.items() if slot.seed is not None}
        self._model = model
        self._options = dict(seed_options or {})
        self._scheduler = None if scheduler is None else check_scheduler(scheduler)
        if self._scheduler is not None:
            check_scheduler_of(self._scheduler, self._optimizer)
        self._thorough = thorough
        self._sources: dict[int, GroupSource] = {}  # of new groups, by id(group)

    def run(self) -> None:
        """Makes the groups, and the per-group entries of schedulers, match the seeds."""
        self._prepare_parallel_seeds()
        seeds = seed_parameters(self._slots.values())
        ids = {id(p) for parameters in seeds.values() for p in parameters}
        groups = self._optimizer.param_groups
        if _groups_match(groups, seeds, ids):
            return
        before = list(groups)
        schedulers = find_schedulers(self._optimizer, self._scheduler, thorough=self._thorough)
        self._remove_old_seeds(ids)
        for name, parameters in seeds.items():
            self._move_to_own_group(name, {id(p) for p in parameters})
            self._add_new_parameters(name, parameters, schedulers, before)
        update_schedulers(schedulers, before, groups, self._sources)

    def _prepare_parallel_seeds(self) -> None:
        """Shards new seeds of a sharded model; refuses seeds that ranks would not average."""
        if self._model is None:
            check_sharded(self._optimizer, self._slots.values())
            return
        for slot in self._slots.values():
            assert slot.seed is not None
            check_in_ddp(self._model, slot.seed, slot.name)
        shard_new_seeds(self._model, self._slots.values())

    def _remove_old_seeds(self, present: set[int]) -> None:
        """Removes parameters of removed seeds from the groups, and their state."""
        groups = self._optimizer.param_groups
        for group in groups:
            if SLOT_KEY in group:
                for parameter in group["params"]:
                    if id(parameter) not in present:
                        self._optimizer.state.pop(parameter, None)
                _keep_only(group, present)
        groups[:] = [group for group in groups if group["params"] or SLOT_KEY not in group]

    def _move_to_own_group(self, name: str, ids: set[int]) -> None:
        """Moves a seed's parameters out of groups that are not a seed's."""
        groups = self._optimizer.param_groups
        for group in list(groups):
            if SLOT_KEY in group or not any(id(p) in ids for p in group["params"]):
                continue
            others = {id(p) for p in group["params"]} - ids
            own = {**group, SLOT_KEY: name}
            _keep_only(own, ids)
            _keep_only(group, others)
            groups.append(own)
            self._sources[id(own)] = GroupSource(group=group, scale=lambda rate: rate * 1.0)

    def _add_new_parameters(
        self, name: str, parameters: list[Parameter], schedulers: list[Any], before: list[Group]
    ) -> None:
        """Adds a seed's parameters that are in no group, in a new group if it has none yet."""
        groups = self._optimizer.param_groups
        present = {id(p) for group in groups for p in group["params"]}
        new = [p for p in parameters if id(p) not in present]
        if not new:
            return
        for group in groups:
            if group.get(SLOT_KEY) == name:
                group["params"] += new
                if "param_names" in group:
                    group["param_names"] += self._names(name, new)
                return
        host_group = find_host_group(groups, self._model, self._slots[name])
        options, source = new_group_options(host_group, before, schedulers, self._options)
        # Torch wants names in every group or in none.
        named = any("param_names" in group for group in groups)
        members = list(zip(self._names(name, new), new, strict=True)) if named else new
        try:
            self._optimizer.add_param_group({**options, "params": members, SLOT_KEY: name})
        except (TypeError, ValueError, RuntimeError) as error:
            raise KasminaError(
                f"the {type(self._optimizer).__name__} does not take the seed in slot '{name}': "
                f"{' '.join(str(error).split())}; train the seeds with another one"
            ) from error
        self._sources[id(groups[-1])] = source

    def _names(self, slot: str, parameters: list[Parameter]) -> list[str]:
        seed = self._slots[slot].seed
        assert seed is not None
        names = {id(p): f"{slot}.seed.{name}" for name, p in seed.named_parameters()}
        return [names[id(p)] for p in parameters]


def _groups_match(groups: list[Group], seeds: dict[str, list[Parameter]], ids: set[int]) -> bool:
    """Whether each seed's parameters are in the seed's group, and nothing else is."""
    expected = {(name, id(p)) for name, parameters in seeds.items() for p in parameters}
    of_seeds = {
        (group[SLOT_KEY], id(p)) for group in groups if SLOT_KEY in group for p in group["params"]
    }
    elsewhere = (p for group in groups if SLOT_KEY not in group for p in group["params"])
    return of_seeds == expected and not any(id(p) in ids for p in elsewhere)


def _keep_only(group: Group, ids: set[int]) -> None:
    """Removes other parameters from a group, and their names."""
    kept = [index for index, p in enumerate(group["params"]) if id(p) in ids]
    for key in ("params", "param_names"):
        if key in group:
            group[key] = [group[key][index] for index in kept]
