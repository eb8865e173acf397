"""How a seed joins its host: isolated while it trains, then added step by step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from esper_kasmina.seed import Seed


class _StraightThrough(torch.autograd.Function):
    """The host's value with the gradient of host + seed.

    Equal to ``host + (seed - seed.detach())`` in value and gradient, in one copy
    instead of two sums, and a seed that overflows cannot reach the host's value.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(host: Tensor, seed: Tensor) -> Tensor:
        """Returns the host's value."""
        del seed
        return host.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keeps nothing: the backward pass needs no values."""

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Gives the whole gradient to both."""
        return gradient, gradient


def isolate(hidden: Tensor, seed: Seed) -> Tensor:
    """Trains a seed beside the host, whose values and gradients stay as they are.

    Args:
        hidden: The host's activations [B, C, ...].
        seed: The seed; it sees the activations detached.
    """
    if not torch.is_grad_enabled() and not seed.training:
        return hidden
    delta = seed.scale * seed.branch(hidden.detach())
    joined: Tensor = _StraightThrough.apply(hidden, delta)
    return joined


def add(hidden: Tensor, seed: Seed, alpha: float) -> Tensor:
    """Adds alpha · (seed(h) - h) to h; gradients reach the host through h itself."""
    return torch.addcmul(hidden, seed.scale, seed.branch(hidden), value=alpha)


def add_overridden(hidden: Tensor, seed: Seed, alpha: float, overrides: Tensor) -> Tensor:
    """Adds a seed with a strength of its own for each sample.

    Args:
        hidden: [B, C, ...].
        seed: The seed.
        alpha: The seed's own strength; at 0 its samples train it in isolation.
        overrides: [B]; NaN keeps the seed's own.
    """
    column = overrides.reshape((-1,) + (1,) * (hidden.dim() - 1))
    own = column.isnan()
    strength = torch.where(own, alpha, column).to(hidden.dtype)
    blended = torch.addcmul(hidden, strength * seed.scale, seed.branch(hidden))
    if alpha == 0.0:
        return torch.where(own, isolate(hidden, seed), blended)
    return blended
