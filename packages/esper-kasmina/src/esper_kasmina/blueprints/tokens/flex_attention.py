"""Flex attention: self-attention with a bias by distance, ALiBi (Press et al. 2022).

Near tokens weigh more, far ones less, at a rate of its own for every head, so it also
works on sequences longer than those it learned from. On CUDA it runs as one fused kernel
through ``torch.nn.attention.flex_attention``. That kernel has no backward pass on other
devices and takes no heads of under 16 numbers; there the same function is computed by
scaled dot-product attention with the bias as a matrix [heads, T, T].
``FlexAttention.kernel`` says which one a seed uses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.blueprints.tokens.attention import SelfAttention

_FUSED_DEVICES = ("cuda",)
_FUSED_NARROWEST = 16


class FlexAttention(SelfAttention):
    """Self-attention that loses interest with distance.

    Attributes:
        slopes: What a head's logits lose per token of distance, [heads].
        portable: Whether to use the kernel that runs everywhere and can be exported.
    """

    slopes: Tensor

    def __init__(self, width: int, *, causal: bool, batch_first: bool) -> None:
        super().__init__(width, causal=causal, batch_first=batch_first)
        self.portable = False
        self.register_buffer("slopes", torch.empty(self.heads), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Computes the slopes, which no state dict holds."""
        exponents = torch.arange(1, self.heads + 1) * (8.0 / self.heads)
        with torch.no_grad():
            self.slopes.copy_(torch.exp2(-exponents))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FlexAttention:
        """Moves tensors as torch does; those of ``to_empty`` hold nothing yet."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.reset_parameters()
        return self

    @property
    def kernel(self) -> Literal["flex_attention", "scaled_dot_product"]:
        """What computes the attention where the parameters are now."""
        fitting = self.out.in_features // self.heads >= _FUSED_NARROWEST
        fused = fitting and not self.portable and self.out.weight.device.type in _FUSED_DEVICES
        return "flex_attention" if fused else "scaled_dot_product"

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Takes and returns [B, heads, T, D / heads]."""
        if self.portable or self.kernel == "scaled_dot_product":
            bias = self._bias(query).to(query.dtype)
            return scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return attend_fused(query, key, value, self.slopes, causal=self.causal)

    def _bias(self, query: Tensor) -> Tensor:
        """Returns what the logits lose, [heads, T, T]."""
        # Positions by a cumulative sum, because their number must stay open in an export.
        positions = torch.ones_like(query[0, 0, :, 0], dtype=torch.float32).cumsum(0)
        distance = positions.unsqueeze(1) - positions.unsqueeze(0)
        bias = -self.slopes.float().unflatten(0, (-1, 1, 1)) * distance.abs()
        causal: Tensor = bias.masked_fill(distance < 0, float("-inf")) if self.causal else bias
        return causal


def attend_fused(
    query: Tensor, key: Tensor, value: Tensor, slopes: Tensor, *, causal: bool
) -> Tensor:
    """Computes the biased attention by torch's flex attention, compiled on CUDA.

    Args:
        query: [B, heads, T, D / heads].
        key: As the query.
        value: As the query.
        slopes: [heads].
        causal: Whether tokens look back only.
    """

    def score(logit: Tensor, _batch: Tensor, head: Tensor, one: Tensor, other: Tensor) -> Tensor:
        biased = logit - slopes[head] * (one - other).abs()
        return torch.where(one >= other, biased, float("-inf")) if causal else biased

    # Under a compiler it is part of the graph; alone, it has to be compiled itself.
    kernel = _kernel(compiled=query.is_cuda and not torch.compiler.is_compiling())
    output: Tensor = kernel(query, key, value, score_mod=score)
    return output


@cache
def _kernel(*, compiled: bool) -> Callable[..., Any]:
    # Importing it takes two seconds, which only those who use it should wait.
    from torch.nn.attention.flex_attention import flex_attention  # noqa: PLC0415

    kernel: Any = flex_attention
    return torch.compile(kernel) if compiled else kernel


def build(activations: ActivationSpec) -> nn.Module:
    """Builds the branch: norm, biased attention, projection."""
    return FlexAttention(
        activations.channels, causal=activations.causal, batch_first=activations.batch_first
    )
