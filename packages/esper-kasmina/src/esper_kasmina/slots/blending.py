"""How a seed joins its host: isolated while it trains, then at any strength for each sample."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from esper_kasmina.slots.seed import Seed


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


class _StraightThroughForward(_StraightThrough):
    """The same with a forward-mode derivative, which ``torch.compile`` does not take."""

    @staticmethod
    def jvp(_ctx: Any, host: Tensor | None, seed: Tensor | None) -> Tensor | None:
        """Adds the tangents of both; ``None`` where one has none."""
        if host is None or seed is None:
            return seed if host is None else host.clone()
        return host + seed


def isolate(hidden: Tensor, seed: Seed) -> Tensor:
    """Trains a seed beside the host, whose values and gradients stay as they are.

    The seed learns what it would do at full strength by its own algorithm; it sees the
    activations detached.
    """
    if not torch.is_grad_enabled() and not seed.training:
        return hidden
    function = _StraightThrough if torch.compiler.is_compiling() else _StraightThroughForward
    joined: Tensor = function.apply(hidden, seed.blended(hidden.detach()))
    return joined


def blend_overridden(
    hidden: Tensor, seed: Seed, strength: Tensor, overrides: Tensor, *, isolated: bool
) -> Tensor:
    """Blends a seed with a strength of its own for each sample; zero is the host untouched.

    Args:
        hidden: The host's activations.
        seed: The seed.
        strength: The seed's own, [].
        overrides: One value a sample, shaped to broadcast; NaN keeps the seed's own.
        isolated: Whether samples that keep the seed's own train it in isolation.
    """
    own = overrides.isnan()
    strengths = torch.where(own, strength, overrides)
    # Zero times a seed that overflows would not be nothing.
    blended = torch.where(strengths == 0.0, hidden, seed.blended(hidden, strengths))
    return torch.where(own, isolate(hidden, seed), blended) if isolated else blended
