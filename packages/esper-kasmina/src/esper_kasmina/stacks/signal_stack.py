"""Computes several small hosts of one spec together, with one operator per layer for all hosts.

A host of a few hundred parameters spends its time on calls of operators. Here the weights of each
host are one row of a matrix, and every layer is a batched matrix product over [K, C, L·B]. Seeds of
one structure after the same block are computed together too, and so are the configurations of
counterfactuals. The parameters of hosts and seeds are views of the rows, so reports, snapshots and
harvests work as before. A seed with a layer that cannot be stacked runs in its own host.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from esper_kasmina.errors import KasminaError
from esper_kasmina.slots.slot import SeedSlot
from esper_kasmina.stacks.block import Block
from esper_kasmina.stacks.branches import Description, bind_norm, describe
from esper_kasmina.stacks.layers import Backward, Classifier
from esper_kasmina.stacks.rows import ParameterRows
from esper_kasmina.stacks.seed_group import SeedGroup
from esper_leyline import CNNHostSpec
from esper_leyline.ports import StackedRow

Configuration = frozenset[str]
"""The slots whose seeds are disabled."""


class SignalHost(Protocol):
    """The attributes of a host that a stack uses: blocks for signals, and a classifier."""

    spec: CNNHostSpec
    blocks: nn.ModuleList
    classifier: nn.Linear

    @property
    def slotted_blocks(self) -> tuple[tuple[nn.Module, SeedSlot | None], ...]:
        """The blocks in order, each with the enabled slot after it or ``None``."""


class SignalStack:
    """K hosts for signals [B, C, L] as one; implements Leyline's ``HostStack``.

    Results differ from those of the hosts by rounding only, and those of a host do not depend on
    the other hosts in the stack.
    """

    def __init__(self, hosts: Sequence[SignalHost]) -> None:
        """Makes the parameters of the hosts views of rows.

        Raises:
            KasminaError: If the hosts have different specs, or are not for signals.
        """
        _check(hosts)
        self._hosts = tuple(hosts)
        self._rows = ParameterRows([_own_parameters(host) for host in hosts])
        self._blocks, self._classifier = self._bind()
        self._slots = [
            [host.slotted_blocks[depth][1] for host in hosts] for depth in range(len(self._blocks))
        ]
        self._groups: list[list[SeedGroup]] = [[] for _ in self._blocks]
        self._grouping: Sequence[object] = ()
        self._backward: list[Backward] = []

    @property
    def rows(self) -> tuple[StackedRow, ...]:
        """The parameters of each host itself."""
        return _rows_of(self._rows)

    @property
    def seed_rows(self) -> tuple[StackedRow, ...]:
        """The parameters of each seed that is computed with others, or could be."""
        return tuple(
            row for groups in self._groups for each in groups for row in _rows_of(each.rows)
        )

    def regroup(self) -> None:
        """Finds the seeds that are computed together, after commands and ticks changed them."""
        found = [self._find_groups(depth) for depth in range(len(self._slots))]
        grouping = [
            (depth, key, [(host, _parameters(slot)) for host, slot in members])
            for depth, groups in enumerate(found)
            for key, members in groups.items()
        ]
        if grouping != self._grouping:
            self._grouping = grouping
            self._groups = [
                [SeedGroup(*zip(*members, strict=True)) for members in groups.values()]
                for groups in found
            ]
        for groups in self._groups:
            for group in groups:
                group.update_strength()

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Runs every host on the same signals, in training mode.

        Args:
            inputs: [B, C, L].

        Returns:
            Logits [K, B, classes].
        """
        hidden = inputs.permute(1, 2, 0).contiguous().expand(len(self._hosts), -1, -1, -1)
        self._backward = []
        for depth, block in enumerate(self._blocks):
            hidden = self._run(partial(block.forward, first_layer=depth == 0), hidden)
            hidden = self._run_seeds(depth, hidden)
        return self._run(self._classifier.forward, hidden).transpose(1, 2)

    @torch.no_grad()
    def backward(self, gradient: Tensor) -> None:
        """Computes the gradients of all rows.

        Args:
            gradient: That of the logits of the last forward pass, [K, B, classes].
        """
        gradient = gradient.transpose(1, 2)
        while self._backward:
            gradient = self._backward.pop()(gradient)

    @torch.inference_mode()
    def counterfactuals(
        self, inputs: Tensor, disabled: Sequence[Sequence[Configuration]]
    ) -> tuple[Tensor, ...]:
        """Runs every host once for each set of slots held at alpha zero, in evaluation mode.

        The configurations of all hosts are rows of one batch. Up to the first slot in which they
        differ, configurations of a host share a row.

        Args:
            inputs: [B, C, L].
            disabled: The slots to hold at zero, in each configuration of each host.

        Returns:
            Logits [configurations, B, classes] of each host.
        """
        branches = [(host, tuple(range(len(each)))) for host, each in enumerate(disabled)]
        hidden = inputs.permute(1, 2, 0).contiguous().expand(len(branches), -1, -1, -1)
        for depth, block in enumerate(self._blocks):
            hidden = block.infer(hidden, self._indices(branches))
            hidden, branches = self._branch(depth, hidden, branches, disabled)
        logits = self._classifier.infer(hidden, self._indices(branches)).transpose(1, 2)
        places = {
            (host, number): row
            for row, (host, numbers) in enumerate(branches)
            for number in numbers
        }
        return tuple(
            logits[[places[host, number] for number in range(len(each))]]
            for host, each in enumerate(disabled)
        )

    def share_gradients(self) -> None:
        """Sets the gradients of the hosts' and seeds' parameters to views of the rows."""
        for rows in self._all_rows():
            rows.share_gradients()

    def clear_gradients(self) -> None:
        """Sets the gradients that ``share_gradients`` has set to ``None``."""
        for rows in self._all_rows():
            rows.clear_gradients()

    def _all_rows(self) -> list[ParameterRows]:
        return [self._rows, *(group.rows for groups in self._groups for group in groups)]

    def _bind(self) -> tuple[list[Block], Classifier]:
        """Builds the layers of all hosts from the rows."""
        weights = iter(self._rows.weights())
        blocks = []
        for depth, pooled in enumerate(self._hosts[0].spec.pools):
            norms: list[Any] = [host.slotted_blocks[depth][0].norm for host in self._hosts]
            convolution = next(weights)
            blocks.append(Block(convolution, bind_norm(norms, weights), pooled=pooled))
        return blocks, Classifier(next(weights), next(weights))

    def _find_groups(self, depth: int) -> dict[object, list[tuple[int, SeedSlot]]]:
        """Returns the trained seeds after a block by what they must have in common."""
        groups: dict[object, list[tuple[int, SeedSlot]]] = defaultdict(list)
        for host, slot in enumerate(self._slots[depth]):
            structure = _structure(slot)
            if slot is not None and structure is not None:
                groups[structure, slot.alpha == 0.0].append((host, slot))
        return groups

    def _run(self, step: Callable[[Tensor], tuple[Tensor, Backward]], hidden: Tensor) -> Tensor:
        hidden, backward = step(hidden)
        self._backward.append(backward)
        return hidden

    def _run_seeds(self, depth: int, hidden: Tensor) -> Tensor:
        """Runs the seeds after a block in training mode."""
        steps: list[tuple[tuple[int, ...], Callable[[Tensor], tuple[Tensor, Backward]]]] = [
            (group.hosts, group.forward) for group in self._groups[depth]
        ]
        grouped = {host for hosts, _ in steps for host in hosts}
        for host, slot in enumerate(self._slots[depth]):
            if slot is not None and slot.active and host not in grouped:
                steps.append(((host,), _Alone(slot).forward))
        for hosts, step in steps:
            hidden = self._run(_on_rows(hosts, step), hidden)
        return hidden

    def _indices(self, branches: Sequence[tuple[int, tuple[int, ...]]]) -> Tensor | None:
        """Returns the host of each row, ``None`` if there is one row for each host in order."""
        hosts = [host for host, _ in branches]
        return None if hosts == list(range(len(self._hosts))) else torch.tensor(hosts)

    def _branch(
        self,
        depth: int,
        hidden: Tensor,
        branches: list[tuple[int, tuple[int, ...]]],
        disabled: Sequence[Sequence[Configuration]],
    ) -> tuple[Tensor, list[tuple[int, tuple[int, ...]]]]:
        """Runs the seeds after a block, and splits rows whose configurations differ there.

        Args:
            depth: The position of the block.
            hidden: Its outputs, [rows, C, L, B].
            branches: The host and the configurations of each row.
            disabled: The configurations of each host.

        Returns:
            Activations and branches after the slot.
        """
        kept, seeded = _split(self._slots[depth], branches, disabled)
        if not seeded:
            return hidden, branches
        parts = [hidden.index_select(0, torch.tensor(list(kept)))] if kept else []
        after = [(branches[row][0], numbers) for row, numbers in kept.items()]
        places = {
            host: (group, place)
            for group in self._groups[depth]
            for place, host in enumerate(group.hosts)
        }
        by_group: dict[SeedGroup | None, list[int]] = defaultdict(list)
        for row in seeded:
            group, _ = places.get(branches[row][0], (None, 0))
            by_group[group].append(row)
        for group, rows in by_group.items():
            inputs = hidden.index_select(0, torch.tensor(rows))
            hosts = [branches[row][0] for row in rows]
            if group is None:
                slots = self._slots[depth]
                parts.append(_infer_alone([slots[host] for host in hosts], inputs))
            else:
                parts.append(group.infer(inputs, torch.tensor([places[h][1] for h in hosts])))
            after += [(branches[row][0], seeded[row]) for row in rows]
        return torch.cat(parts), after


class _Alone:
    """Runs the seed of one host through its slot, with autograd."""

    def __init__(self, slot: SeedSlot) -> None:
        self._slot = slot

    def forward(self, hidden: Tensor) -> tuple[Tensor, Backward]:
        """Takes and returns [1, C, L, B]."""
        leaf = hidden[0].permute(2, 0, 1).detach().requires_grad_()
        with torch.enable_grad():
            output = self._slot(leaf)

        def backward(gradient: Tensor) -> Tensor:
            with torch.enable_grad():
                output.backward(gradient[0].permute(2, 0, 1))
            assert leaf.grad is not None
            return leaf.grad.permute(1, 2, 0).unsqueeze(0)

        return output.detach().permute(1, 2, 0).unsqueeze(0), backward


def _infer_alone(slots: Sequence[SeedSlot | None], hidden: Tensor) -> Tensor:
    """Runs each row [C, L, B] through its slot."""
    outputs = [
        slot(row.permute(2, 0, 1)).permute(1, 2, 0)
        for slot, row in zip(slots, hidden, strict=True)
        if slot is not None
    ]
    return torch.stack(outputs)


def _on_rows(
    rows: tuple[int, ...], step: Callable[[Tensor], tuple[Tensor, Backward]]
) -> Callable[[Tensor], tuple[Tensor, Backward]]:
    """Returns a step that changes some rows of the activations."""

    def forward(hidden: Tensor) -> tuple[Tensor, Backward]:
        if rows == tuple(range(len(hidden))):
            return step(hidden)
        some = _take(hidden, rows)
        output, through = step(some)

        def backward(gradient: Tensor) -> Tensor:
            part = _take(gradient, rows)
            changed = through(part)
            return gradient if changed is part else _put(gradient, rows, changed)

        return (hidden if output is some else _put(hidden, rows, output)), backward

    return forward


def _take(hidden: Tensor, rows: tuple[int, ...]) -> Tensor:
    """Returns some rows; a view if they are neighbours."""
    first, last = rows[0], rows[-1] + 1
    if rows == tuple(range(first, last)):
        return hidden[first:last]
    return hidden.index_select(0, torch.tensor(rows))


def _put(hidden: Tensor, rows: tuple[int, ...], replaced: Tensor) -> Tensor:
    """Returns a copy with some rows replaced."""
    by_row = list(hidden.unbind(0))
    for row, values in zip(rows, replaced.unbind(0), strict=True):
        by_row[row] = values
    return torch.stack(by_row)


def _split(
    slots: Sequence[SeedSlot | None],
    branches: Sequence[tuple[int, tuple[int, ...]]],
    disabled: Sequence[Sequence[Configuration]],
) -> tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]]:
    """Returns the configurations of each row without the seed after a block, and those with it."""
    kept, seeded = {}, {}
    for row, (host, numbers) in enumerate(branches):
        slot = slots[host]
        if slot is None or not slot.active or slot.alpha == 0.0:
            kept[row] = numbers
            continue
        without = tuple(each for each in numbers if slot.name in disabled[host][each])
        with_seed = tuple(each for each in numbers if slot.name not in disabled[host][each])
        if without:
            kept[row] = without
        if with_seed:
            seeded[row] = with_seed
    return kept, seeded


def _structure(slot: SeedSlot | None) -> Description | None:
    """Returns the structure of a slot's seed if it is trained and can be computed with others."""
    if slot is None or not slot.active or slot.seed is None or slot.seed.frozen:
        return None
    return describe(slot.seed)


def _parameters(slot: SeedSlot) -> tuple[int, ...]:
    """Identifies the seed of a slot by its parameters."""
    assert slot.seed is not None
    return tuple(map(id, slot.seed.parameters()))


def _rows_of(rows: ParameterRows) -> tuple[StackedRow, ...]:
    return tuple(
        StackedRow(parameters=parameters, values=values, gradients=gradients)
        for parameters, values, gradients in zip(
            rows.parameters, rows.values, rows.gradients, strict=True
        )
    )


def _own_parameters(host: SignalHost) -> list[nn.Parameter]:
    """Returns the host's parameters in the order of the layers that use them."""
    layers: list[Any] = []
    for block in host.blocks:
        layers += [block.convolution, block.norm]
    return [
        *(parameter for layer in layers for parameter in layer.parameters()),
        *host.classifier.parameters(),
    ]


def _check(hosts: Sequence[SignalHost]) -> None:
    if not hosts:
        raise KasminaError("no hosts to stack; give at least one")
    spec = hosts[0].spec
    if any(host.spec != spec for host in hosts):
        raise KasminaError("hosts of different specs cannot be stacked; stack those of one kind")
    if len(spec.input_shape) != 2 or spec.kernel % 2 == 0:
        raise KasminaError(
            f"hosts over inputs {spec.input_shape} with kernel {spec.kernel} are not stacked; "
            "stack those over signals [C, L] with odd kernels"
        )
