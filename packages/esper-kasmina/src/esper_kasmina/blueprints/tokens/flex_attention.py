"""Self-attention with linear biases, ALiBi (Press et al. 2022).

A head's logits fall with the distance between two tokens, with a slope for each head. So it also
works on sequences longer than those of the training. On CUDA it is one fused kernel of
``torch.nn.attention.flex_attention``. That kernel has no backward pass on other devices, and needs
heads of at least 16 numbers. In those cases scaled dot-product attention computes the same
function, with the bias as a matrix [heads, T, T]. ``FlexAttention.kernel`` says which one is used.
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
_FUSED_MIN_HEAD_WIDTH = 16


class FlexAttention(SelfAttention):
    """Self-attention with a bias of -slope * distance.

    Attributes:
        slopes: Slope of each head, [heads].
        portable: Whether to use scaled dot-product attention, which runs on every device and can
            be exported.
    """

    slopes: Tensor

    def __init__(self, width: int, *, causal: bool, batch_first: bool) -> None:
        super().__init__(width, causal=causal, batch_first=batch_first)
        self.portable = False
        self.register_buffer("slopes", torch.empty(self.heads), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Computes the slopes, which are not in state dicts."""
        # 2^(-8 i / heads) for head i = 1 .. heads
        exponents = torch.arange(1, self.heads + 1) * (8.0 / self.heads)
        with torch.no_grad():
            self.slopes.copy_(torch.exp2(-exponents))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FlexAttention:
        """Moves tensors as torch does, and computes the slopes, which ``to_empty`` has not set."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.reset_parameters()
        return self

    @property
    def kernel(self) -> Literal["flex_attention", "scaled_dot_product"]:
        """What computes the attention on the present device."""
        wide_enough = self.out.in_features // self.heads >= _FUSED_MIN_HEAD_WIDTH
        fused = wide_enough and not self.portable and self.out.weight.device.type in _FUSED_DEVICES
        return "flex_attention" if fused else "scaled_dot_product"

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Takes and returns [B, heads, T, D / heads]."""
        if self.portable or self.kernel == "scaled_dot_product":
            bias = self._bias(query).to(query.dtype)
            return scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return attend_fused(query, key, value, self.slopes, causal=self.causal)

    def _bias(self, query: Tensor) -> Tensor:
        """Returns the bias, [heads, T, T]; minus infinity for later tokens if causal."""
        # Not arange(T), because an exported graph must not fix T.
        positions = torch.ones_like(query[0, 0, :, 0], dtype=torch.float32).cumsum(0)
        distance = positions.unsqueeze(1) - positions.unsqueeze(0)
        bias = -self.slopes.float().unflatten(0, (-1, 1, 1)) * distance.abs()
        causal: Tensor = bias.masked_fill(distance < 0, float("-inf")) if self.causal else bias
        return causal


def attend_fused(
    query: Tensor, key: Tensor, value: Tensor, slopes: Tensor, *, causal: bool
) -> Tensor:
    """Computes attention with biases by torch's flex attention, compiled on CUDA.

    Args:
        query: [B, heads, T, D / heads].
        key: Same shape.
        value: Same shape.
        slopes: [heads].
        causal: Whether tokens must not depend on later ones.
    """

    def score(
        logit: Tensor, _batch: Tensor, head: Tensor, query_index: Tensor, key_index: Tensor
    ) -> Tensor:
        biased = logit - slopes[head] * (query_index - key_index).abs()
        if causal:
            return torch.where(query_index >= key_index, biased, float("-inf"))
        return biased

    # It has to be compiled, unless it is part of a model that is being compiled.
    kernel = _kernel(compiled=query.is_cuda and not torch.compiler.is_compiling())
    output: Tensor = kernel(query, key, value, score_mod=score)
    return output


@cache
def _kernel(*, compiled: bool) -> Callable[..., Any]:
    # Imported here, because the import takes two seconds.
    from torch.nn.attention.flex_attention import flex_attention  # noqa: PLC0415

    kernel: Any = flex_attention
    return torch.compile(kernel) if compiled else kernel


def build(activations: ActivationSpec) -> nn.Module:
    """Builds the branch: norm, attention with biases, projection."""
    return FlexAttention(
        activations.channels, causal=activations.causal, batch_first=activations.batch_first
    )
