"""The critic: Q(s, op) for every op, or V(s) as the ablation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from esper_leyline import Op, unknown_name
from esper_tamiyo.errors import TamiyoError
from esper_tamiyo.initialization import CRITIC_GAIN, TRUNK_GAIN, orthogonal_linear

CriticKind = Literal["q", "v"]


class OpCritic(nn.Module):
    """An MLP with one hidden layer, from the memory to one value for each op.

    With ``"v"`` it has one output, repeated for every op.
    """

    def __init__(self, memory: int, kind: CriticKind) -> None:
        super().__init__()
        if kind not in ("q", "v"):
            raise TamiyoError(unknown_name("critic", kind, ("q", "v")))
        hidden = max(8, memory // 2)
        outputs = len(Op) if kind == "q" else 1
        self.hidden = orthogonal_linear(nn.Linear(memory, hidden), TRUNK_GAIN)
        self.output = orthogonal_linear(nn.Linear(hidden, outputs), CRITIC_GAIN)

    def forward(self, memory: Tensor) -> Tensor:
        """Maps memory [..., H] to values [..., ops]."""
        values: Tensor = self.output(torch.relu(self.hidden(memory))).float()
        return values.expand(*values.shape[:-1], len(Op))


def expected_value(op_probs: Tensor, q_values: Tensor) -> Tensor:
    """V(s) = Σ π(op|s) · Q(s, op) over [..., ops], where π is the policy with masks and floors.

    The value loss has no gradient in π.
    """
    return (op_probs.detach() * q_values).sum(dim=-1)
