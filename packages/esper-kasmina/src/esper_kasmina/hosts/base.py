"""The base class of hosts: slots, their lifecycle and their measurements."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from esper_kasmina.checks import check_snapshot, shown
from esper_kasmina.errors import KasminaError
from esper_kasmina.optim.group_sync import GroupSync
from esper_kasmina.slots.gradients import measure_gradients
from esper_kasmina.slots.record import MAX_UNREAD_EVENTS
from esper_kasmina.slots.slot import SeedSlot, SlotSnapshot
from esper_leyline import (
    CommandResult,
    Germinate,
    MorphogeneticHost,
    Op,
    SeedCommand,
    SeedEvent,
    SeedMeasurement,
    SeedReport,
    SeedStage,
)
from esper_leyline.ports import HOST_GROUP, HostStack, ParameterCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSnapshot:
    """A copy of a host's state, made by ``SlottedHost.snapshot``."""

    tensors: Mapping[str, Tensor]
    slots: Mapping[str, SlotSnapshot]
    events: tuple[SeedEvent, ...]


class SlottedHost(nn.Module):
    """Base of hosts: all of Leyline's ``MorphogeneticHost`` except the forward passes."""

    def __init__(self, slots: Mapping[str, SeedSlot], *, max_seeds: int | None) -> None:
        """Takes the slots.

        Args:
            slots: The enabled slots by id, row-major.
            max_seeds: Largest number of seeds at a time; ``None`` allows one in each slot.

        Raises:
            KasminaError: If ``max_seeds`` is not a whole number of at least 1.
        """
        super().__init__()
        if max_seeds is not None and (not isinstance(max_seeds, int) or max_seeds < 1):
            raise KasminaError(
                f"max_seeds is {shown(max_seeds)}; allow at least 1, or None for every slot"
            )
        self.seed_slots = nn.ModuleDict(slots)
        self._slots: tuple[SeedSlot, ...] = tuple(slots.values())
        self._max_seeds = len(slots) if max_seeds is None else max_seeds
        self._events: deque[SeedEvent] = deque(maxlen=MAX_UNREAD_EVENTS)

    @property
    def slots(self) -> tuple[str, ...]:
        """The enabled slots, row-major."""
        return tuple(slot.name for slot in self._slots)

    @property
    def revision(self) -> int:
        """Changes when the set of trained parameters changes; wrap the model in DDP again then."""
        return sum(slot.revision for slot in self._slots)

    def slot(self, name: str) -> SeedSlot:
        """Returns an enabled slot.

        Raises:
            KasminaError: If the host has no enabled slot of this id.
        """
        for slot in self._slots:
            if slot.name == name:
                return slot
        raise KasminaError(f"no enabled slot '{name}'; enabled: {', '.join(self.slots)}")

    def apply_command(self, command: SeedCommand) -> CommandResult:
        """Carries out a lifecycle command, or returns why it is refused and changes nothing.

        Raises:
            KasminaError: If it is not a ``SeedCommand``, which names the slot.
        """
        if not isinstance(command, SeedCommand):
            raise KasminaError(
                f"{shown(command)} names no slot; "
                f"give SeedCommand(slot='{next(iter(self.slots), 'r0c0')}', command=...)"
            )
        try:
            slot = self.slot(command.slot)
        except KasminaError as error:
            return CommandResult(accepted=False, reason=str(error))
        if isinstance(command.command, Germinate) and self._is_full():
            reason = f"the host holds {self._max_seeds} seeds, as many as it may"
            return CommandResult(accepted=False, reason=reason)
        result = slot.apply_command(command.command)
        self._events += slot.take_events()
        return result

    def record_gradients(self) -> None:
        """Measures the present gradients; call it once in an epoch, after a backward pass."""
        host = measure_gradients(self._own_parameters())
        for slot in self._slots:
            slot.record_gradients(host)

    def record_validation(self, accuracy: float, measurements: Sequence[SeedMeasurement]) -> None:
        """Stores the results of a validation, for gates and reports.

        Args:
            accuracy: Accuracy of the whole host, in percent.
            measurements: Contributions of seeds that were measured.

        Raises:
            KasminaError: If a measurement is of a slot without a seed.
        """
        by_slot = {self.slot(measured.slot).name: measured for measured in measurements}
        for slot in self._slots:
            slot.record_validation(accuracy, by_slot.get(slot.name))

    def tick(self) -> None:
        """Ends an epoch: advances ramps of alpha, embargoes and automatic stage changes."""
        for slot in self._slots:
            slot.tick()
            self._events += slot.take_events()

    def prune_live(self) -> None:
        """Removes all live seeds, whatever their age; for use when training collapses."""
        for slot in self._slots:
            slot.prune_now()
            self._events += slot.take_events()

    def take_events(self) -> tuple[SeedEvent, ...]:
        """Returns the events since the last call in order, and clears them.

        At most ``MAX_UNREAD_EVENTS`` are stored; the oldest are dropped.
        """
        events = tuple(self._events)
        self._events.clear()
        return events

    def seed_reports(self) -> tuple[SeedReport, ...]:
        """Returns the present state of every enabled slot, row-major."""
        closed = frozenset({Op.GERMINATE}) if self._is_full() else frozenset()
        return tuple(slot.report(closed) for slot in self._slots)

    def parameter_counts(self) -> ParameterCounts:
        """Counts parameters of the host and of its seeds, frozen ones included."""
        sizes = [(slot.stage, slot.seed.size) for slot in self._slots if slot.seed is not None]
        return ParameterCounts(
            host=sum(p.numel() for p in self._own_parameters()),
            fossil=sum(size for stage, size in sizes if stage is SeedStage.FOSSILIZED),
            live=sum(size for stage, size in sizes if stage is not SeedStage.FOSSILIZED),
        )

    def parameter_groups(self) -> Mapping[str, Sequence[Parameter]]:
        """Returns the host's parameters under ``HOST_GROUP`` and each seed's under its slot."""
        groups: dict[str, Sequence[Parameter]] = {HOST_GROUP: self._own_parameters()}
        for slot in self._slots:
            if slot.seed is not None:
                groups[slot.name] = list(slot.seed.parameters())
        return groups

    def sync_optimizer(
        self, optimizer: Optimizer, seed_options: Mapping[str, Any] | None = None
    ) -> None:
        """Adds the parameters of new seeds to an optimizer and removes those of removed seeds.

        The state of other parameters is not changed. ``esper_kasmina.sync_optimizer`` does the
        same, and also finds schedulers that add nothing to the groups (``ReduceLROnPlateau``).
        """
        # Not thorough, because a search among all objects is slow with many hosts.
        GroupSync(optimizer, self._slots, self, seed_options, thorough=False).run()

    def stack(self, others: Sequence[MorphogeneticHost]) -> HostStack | None:
        """Returns ``None``: this host cannot be computed together with others."""
        del others
        return None

    def snapshot(self) -> HostSnapshot:
        """Returns a copy of everything that ``restore`` needs."""
        return HostSnapshot(
            tensors={name: tensor.detach().clone() for name, tensor in self._own_tensors()},
            slots={slot.name: slot.snapshot() for slot in self._slots},
            events=tuple(self._events),
        )

    def restore(self, snapshot: HostSnapshot) -> None:
        """Restores a snapshot, which can be used again; gradients are cleared.

        Raises:
            KasminaError: If it is not a snapshot of a host.
        """
        check_snapshot(snapshot, HostSnapshot)
        with torch.no_grad():
            for name, tensor in self._own_tensors():
                tensor.copy_(snapshot.tensors[name])
        for slot in self._slots:
            slot.restore(snapshot.slots[slot.name])
        self._events = deque(snapshot.events, maxlen=MAX_UNREAD_EVENTS)
        self.zero_grad(set_to_none=True)

    def _is_full(self) -> bool:
        return sum(slot.occupied for slot in self._slots) >= self._max_seeds

    def _own_tensors(self) -> list[tuple[str, Tensor]]:
        tensors = self.state_dict(keep_vars=True).items()
        return [(name, tensor) for name, tensor in tensors if not name.startswith("seed_slots.")]

    def _own_parameters(self) -> list[Parameter]:
        return [
            parameter
            for name, parameter in self.named_parameters()
            if not name.startswith("seed_slots.")
        ]
