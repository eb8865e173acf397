"""What every host has in common: slots, their lifecycle and their measurements."""

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
from esper_kasmina.optim.groups import GroupSync
from esper_kasmina.slots.gradients import measure_gradients
from esper_kasmina.slots.record import MAX_UNREAD_EVENTS
from esper_kasmina.slots.slot import SeedSlot
from esper_kasmina.slots.storage import SlotSnapshot
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
    """Base of hosts: everything of Leyline's ``MorphogeneticHost`` but the forward passes."""

    def __init__(self, slots: Mapping[str, SeedSlot], *, max_seeds: int | None) -> None:
        """Takes the enabled slots, row-major.

        Raises:
            KasminaError: If ``max_seeds`` leaves no room for any seed.
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
        """Counts the changes of what is trained; wrap the model in DDP again when it changes."""
        return sum(slot.revision for slot in self._slots)

    def slot(self, name: str) -> SeedSlot:
        """Returns an enabled slot.

        Raises:
            KasminaError: If the host has no such slot, or it is not enabled.
        """
        for slot in self._slots:
            if slot.name == name:
                return slot
        raise KasminaError(f"no enabled slot '{name}'; enabled: {', '.join(self.slots)}")

    def apply_command(self, command: SeedCommand) -> CommandResult:
        """Carries out a lifecycle command, or returns why it is refused and changes nothing.

        Raises:
            KasminaError: If it does not name its slot.
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
        if isinstance(command.command, Germinate) and self._full():
            reason = f"the host holds {self._max_seeds} seeds, as many as it may"
            return CommandResult(accepted=False, reason=reason)
        result = slot.apply_command(command.command)
        self._events += slot.take_events()
        return result

    def record_gradients(self) -> None:
        """Measures the present gradients; call it once an epoch, after a backward pass."""
        host = measure_gradients(self._own_parameters())
        for slot in self._slots:
            slot.record_gradients(host)

    def record_validation(self, accuracy: float, measurements: Sequence[SeedMeasurement]) -> None:
        """Stores the results of validation, for gates and reports. Accuracy is in percent.

        Raises:
            KasminaError: If a measurement is of a slot without a seed.
        """
        by_slot = {self.slot(measured.slot).name: measured for measured in measurements}
        for slot in self._slots:
            slot.record_validation(accuracy, by_slot.get(slot.name))

    def tick(self) -> None:
        """Ends an epoch: ramps, embargoes and auto-forwarding move on by one."""
        for slot in self._slots:
            slot.tick()
            self._events += slot.take_events()

    def prune_live(self) -> None:
        """Removes every live seed at once, whatever its age (the governor's last resort)."""
        for slot in self._slots:
            slot.prune_now()
            self._events += slot.take_events()

    def take_events(self) -> tuple[SeedEvent, ...]:
        """Returns what happened since the last call, in order, and forgets it.

        If they are never read, the oldest events are dropped.
        """
        events = tuple(self._events)
        self._events.clear()
        return events

    def seed_reports(self) -> tuple[SeedReport, ...]:
        """Returns the present state of every enabled slot, row-major."""
        closed = frozenset({Op.GERMINATE}) if self._full() else frozenset()
        return tuple(slot.report(closed) for slot in self._slots)

    def parameter_counts(self) -> ParameterCounts:
        """Counts trainable parameters, frozen ones of a seed being pruned included."""
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
        """Adds the parameters of new seeds to an optimiser and drops those of removed seeds.

        The state of every other parameter is left as it is. ``esper_kasmina.sync_optimizer``
        does the same, and finds schedulers that leave no trace in the groups
        (``ReduceLROnPlateau``).
        """
        # A search among all objects would cost an engine of many hosts some time at each birth.
        GroupSync(optimizer, self._slots, self, seed_options, thorough=False).run()

    def stack(self, others: Sequence[MorphogeneticHost]) -> HostStack | None:
        """Returns ``None``: hosts gain nothing by being computed together, unless they say so."""
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

    def _full(self) -> bool:
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
