"""Hosts whose blocks run one after another, with slots after some of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from esper_kasmina.checks import shown
from esper_kasmina.errors import KasminaError
from esper_kasmina.hosts.base import SlottedHost
from esper_kasmina.slots.slot import SeedSlot


class SequentialHost(SlottedHost, ABC):
    """Base of hosts of the form ``head(block_n(... block_1(embed(inputs))))``.

    A subclass builds its layers, calls ``_set_blocks`` and defines ``embed`` and ``head``. This
    class has both forward passes: ``forward`` and ``counterfactuals``.
    """

    def __init__(self, slots: Mapping[str, SeedSlot], *, max_seeds: int | None) -> None:
        super().__init__(slots, max_seeds=max_seeds)
        self._slotted_blocks: tuple[tuple[nn.Module, SeedSlot | None], ...] = ()

    def embed(self, inputs: Tensor) -> Tensor:
        """Returns the input of the first block."""
        return inputs

    @abstractmethod
    def head(self, hidden: Tensor) -> Tensor:
        """Returns the logits for the output of the last block."""

    @property
    def slotted_blocks(self) -> tuple[tuple[nn.Module, SeedSlot | None], ...]:
        """The blocks in order, each with the enabled slot after it or ``None``."""
        return self._slotted_blocks

    def forward(self, inputs: Tensor, alpha: Tensor | None = None) -> Tensor:
        """Runs the network.

        Args:
            inputs: [B, ...].
            alpha: [B, S] overrides per sample and enabled slot; NaN keeps the seed's own alpha.

        Returns:
            Logits [B, ..., C].
        """
        if alpha is not None:
            return self._forward_overridden(inputs, alpha)
        hidden = self.embed(inputs)
        for block, slot in self._slotted_blocks:
            hidden = block(hidden)
            if slot is not None and slot.active:
                hidden = slot(hidden)
        return self.head(hidden)

    def counterfactuals(self, inputs: Tensor, disabled: Sequence[frozenset[str]]) -> Tensor:
        """Runs the network once for each set of slots held at alpha zero.

        Configurations are computed as a tree that branches at each slot in which they differ, so
        that common prefixes are computed once. Configurations that differ only in slots without
        effect are computed once. Call it in evaluation mode without gradients.

        Args:
            inputs: [B, ...].
            disabled: The slots to hold at zero in each configuration.

        Returns:
            Logits [len(disabled), B, ..., C].

        Raises:
            KasminaError: If a slot is not enabled.
        """
        check_configurations(self, disabled)
        configurations = disabled or [frozenset()]
        logits: list[Tensor | None] = [None] * len(configurations)
        indices = list(range(len(configurations)))
        self._run_tree(self.embed(inputs), 0, indices, configurations, logits)
        stacked = torch.stack([tensor for tensor in logits if tensor is not None])
        return stacked[: len(disabled)]

    def _set_blocks(self, blocks: Sequence[nn.Module], slots: Sequence[SeedSlot | None]) -> None:
        """Sets the order in which blocks run, each with the slot after it or ``None``."""
        # A tuple, because looking modules up by name costs as much as a small layer.
        self._slotted_blocks = tuple(zip(blocks, slots, strict=True))

    def _run_tree(
        self,
        hidden: Tensor,
        depth: int,
        indices: list[int],
        disabled: Sequence[frozenset[str]],
        logits: list[Tensor | None],
    ) -> None:
        """Computes the rest of the network from a block on, for some configurations.

        Args:
            hidden: The input of the block.
            depth: The position of the block.
            indices: The configurations to compute; they are equal in all slots before the block.
            disabled: All configurations.
            logits: Receives the logits of each configuration.
        """
        if not indices:
            return
        if depth == len(self._slotted_blocks):
            result = self.head(hidden)
            for index in indices:
                logits[index] = result
            return
        block, slot = self._slotted_blocks[depth]
        hidden = block(hidden)
        if slot is None or not slot.active or slot.alpha == 0.0:
            self._run_tree(hidden, depth + 1, indices, disabled, logits)
            return
        without = [index for index in indices if slot.name in disabled[index]]
        self._run_tree(hidden, depth + 1, without, disabled, logits)
        with_seed = [index for index in indices if slot.name not in disabled[index]]
        if with_seed:
            self._run_tree(slot(hidden), depth + 1, with_seed, disabled, logits)

    def _forward_overridden(self, inputs: Tensor, alpha: Tensor) -> Tensor:
        columns = split_overrides(self, len(inputs), alpha)
        hidden = self.embed(inputs)
        for block, slot in self._slotted_blocks:
            hidden = block(hidden)
            if slot is not None and slot.active:
                hidden = slot(hidden, columns[slot.name])
        return self.head(hidden)


def check_configurations(host: SlottedHost, disabled: Sequence[frozenset[str]]) -> None:
    """Checks the configurations given to ``counterfactuals``.

    Raises:
        KasminaError: If a slot is not enabled, or a configuration is not a set of slots.
    """
    if isinstance(disabled, str) or any(isinstance(each, str) for each in disabled):
        raise KasminaError(
            f"the configurations are {shown(disabled)}; give sets of slot ids, such as "
            f"[{{'{host.slots[0]}'}}]"
        )
    for name in frozenset().union(*disabled):
        host.slot(name)


def split_overrides(host: SlottedHost, samples: int, alpha: Tensor) -> dict[str, Tensor]:
    """Returns one column of overrides, [B], for each enabled slot.

    Raises:
        KasminaError: If ``alpha`` does not have one row per sample and one column per slot.
    """
    if not isinstance(alpha, Tensor):
        raise KasminaError(
            f"alpha is {shown(alpha)}; give a tensor with one row per sample and one column per "
            f"enabled slot, ({samples}, {len(host.slots)})"
        )
    if alpha.shape != (samples, len(host.slots)):
        raise KasminaError(
            f"alpha has shape {tuple(alpha.shape)}; give one row per sample and one column "
            f"per enabled slot, ({samples}, {len(host.slots)})"
        )
    return dict(zip(host.slots, alpha.unbind(1), strict=True))
