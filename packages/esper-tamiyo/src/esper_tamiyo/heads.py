"""Policy heads: the op first, then the seven heads that are chosen given the op."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from esper_leyline import CANONICAL_INDEX, HEADS, RELEVANT_HEADS, Op
from esper_tamiyo.distributions import MaskedCategorical, masked_categorical
from esper_tamiyo.initialization import (
    POLICY_GAIN,
    TRUNK_GAIN,
    orthogonal_linear,
    unit_embedding,
)

ARGUMENT_HEADS = HEADS[1:]
"""The heads that are conditioned on the op."""


class PolicyHeads(nn.Module):
    """One linear layer for each head; the parameters of head ``h`` are ``heads.h.*``.

    The seven heads after the op are padded to the size W of the largest, so that one masked
    categorical [..., 7, W] holds them all. The padding is always closed.
    """

    floors: Tensor
    spread: Tensor
    readable: Tensor
    canonical: Tensor

    def __init__(self, memory: int, sizes: Mapping[str, int], floors: Mapping[str, float]) -> None:
        super().__init__()
        self.sizes = dict(sizes)
        self.width = max(self.sizes.values())
        hidden = max(8, memory // 2)
        self.op_hidden = orthogonal_linear(nn.Linear(memory, hidden), TRUNK_GAIN)
        # The op is added before the ReLU. Added to the logits it would shift them by constants, so
        # a preference between slots could not depend on state and op together.
        self.argument_hidden = orthogonal_linear(nn.Linear(memory, hidden), TRUNK_GAIN)
        self.op_embedding = unit_embedding(nn.Embedding(len(Op), hidden))
        self.heads = nn.ModuleDict(
            {
                name: orthogonal_linear(nn.Linear(hidden, size), POLICY_GAIN)
                for name, size in self.sizes.items()
            }
        )
        self.op_floor = floors["op"]
        self._register_tables(floors)

    def ops(self, memory: Tensor, mask: Tensor) -> MaskedCategorical:
        """Returns the distributions over ops: memory [..., H], mask [..., ops].

        WAIT is opened here even if the mask closes it, as at padding, where all ops are closed and
        the probabilities would be NaN.
        """
        logits = self.heads["op"](torch.relu(self.op_hidden(memory)))
        return masked_categorical(
            logits, mask | self.canonical[Op.WAIT, 0, : len(Op)], self.op_floor
        )

    def arguments(
        self, memory: Tensor, op: Tensor, masks: Mapping[str, Tensor]
    ) -> MaskedCategorical:
        """Returns the distributions over the arguments of an op.

        In a head that the op does not use, only the canonical index is open.

        Args:
            memory: [..., H].
            op: [...] int64.
            masks: As in ``Observation``.

        Returns:
            Distributions [..., 7, W] in the order of ``ARGUMENT_HEADS``.
        """
        hidden = torch.relu(self.argument_hidden(memory) + self.op_embedding(op))
        # One product for all heads is faster than seven small ones, even with the concatenation.
        layers = (self.heads[name].parameters() for name in ARGUMENT_HEADS)
        weights, biases = zip(*layers, strict=True)
        logits = functional.linear(hidden, torch.cat(weights), torch.cat(biases))
        mask = self._argument_mask(op, masks)
        return masked_categorical(self._rows(logits), mask, self.floors)

    def probabilities(
        self, op: MaskedCategorical, arguments: MaskedCategorical
    ) -> dict[str, Tensor]:
        """Returns the probabilities of every head by name, each [..., choices]."""
        rows = arguments.probs.unbind(dim=-2)
        named = {
            name: row[..., : self.sizes[name]]
            for name, row in zip(ARGUMENT_HEADS, rows, strict=True)
        }
        return {"op": op.probs, **named}

    def log_distributions(self, op: MaskedCategorical, arguments: MaskedCategorical) -> Tensor:
        """Concatenates the log-probabilities of all heads, [..., 8, W], without gradient.

        Closed choices and padding have minus infinity.
        """
        missing = (0, self.width - op.log_probs.shape[-1])
        ops = functional.pad(op.log_probs.detach(), missing, value=-math.inf)
        return torch.cat((ops.unsqueeze(-2), arguments.log_probs.detach()), dim=-2)

    def _argument_mask(self, op: Tensor, masks: Mapping[str, Tensor]) -> Tensor:
        aims = op[..., None, None].expand(*op.shape, 1, self.sizes["slot"])
        slot = masks["slot"].gather(-2, aims).squeeze(-2)
        choices = torch.cat([slot, *(masks[name] for name in ARGUMENT_HEADS[1:])], dim=-1)
        return (self._rows(choices) & self.readable[op]) | self.canonical[op]

    def _rows(self, choices: Tensor) -> Tensor:
        """Pads the arguments' choices [..., sum of sizes] to rows [..., 7, W]."""
        rows = choices.index_select(-1, self.spread)
        return rows.view(*choices.shape[:-1], len(ARGUMENT_HEADS), self.width)

    def _register_tables(self, floors: Mapping[str, float]) -> None:
        relevant = torch.tensor(
            [[name in RELEVANT_HEADS[op] for name in ARGUMENT_HEADS] for op in Op]
        )
        spread = torch.zeros(len(ARGUMENT_HEADS), self.width, dtype=torch.int64)
        real = torch.zeros(len(ARGUMENT_HEADS), self.width, dtype=torch.bool)
        offset = 0
        for row, name in enumerate(ARGUMENT_HEADS):
            size = self.sizes[name]
            spread[row, :size] = torch.arange(offset, offset + size)
            real[row, :size] = True
            offset += size
        canonical = torch.arange(self.width) == CANONICAL_INDEX
        tables = {
            "floors": torch.tensor([[floors[name]] for name in ARGUMENT_HEADS]),
            "spread": spread.flatten(),
            "readable": relevant.unsqueeze(-1) & real,
            "canonical": ~relevant.unsqueeze(-1) & canonical,
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
