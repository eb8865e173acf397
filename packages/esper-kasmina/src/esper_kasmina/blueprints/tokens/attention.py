"""Multi-head self-attention (Vaswani et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.layers.builders import linear, stream_norm

HEADS = 4
"""Largest number of heads; there are fewer if this does not divide the width."""


class SelfAttention(nn.Module):
    """Self-attention over all tokens, or, if causal, over the token itself and earlier ones."""

    def __init__(self, width: int, *, causal: bool, batch_first: bool) -> None:
        super().__init__()
        self.heads = max(count for count in range(1, HEADS + 1) if width % count == 0)
        self.causal = causal
        self.batch_first = batch_first
        self.norm = stream_norm(width)
        self.project = linear(width, 3 * width)
        self.out = linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Takes and returns [B, T, D], or [T, B, D] if not ``batch_first``."""
        if not self.batch_first:
            hidden = hidden.transpose(0, 1)
        # Three equal parts without written sizes, so that channels of a harvest can be pruned.
        parts = self.project(self.norm(hidden)).chunk(3, dim=-1)
        query, key, value = (self._split_heads(parts[index]) for index in range(3))
        attended = self.attend(query, key, value).transpose(1, 2).flatten(2)
        output: Tensor = self.out(attended)
        return output if self.batch_first else output.transpose(0, 1)

    def _split_heads(self, part: Tensor) -> Tensor:
        """Takes [B, T, D] and returns [B, heads, T, D / heads]."""
        heads: Tensor = part.unflatten(-1, (self.heads, -1))
        return heads.transpose(1, 2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Takes and returns [B, heads, T, D / heads]."""
        if torch.compiler.is_compiling() or unpack_dual(query).tangent is None:
            return scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        # Fused kernels have no forward-mode derivative, which this pass needs.
        with sdpa_kernel(SDPBackend.MATH):
            return scaled_dot_product_attention(query, key, value, is_causal=self.causal)


def build(activations: ActivationSpec) -> nn.Module:
    """Builds the branch: norm, attention, projection."""
    return SelfAttention(
        activations.channels, causal=activations.causal, batch_first=activations.batch_first
    )
