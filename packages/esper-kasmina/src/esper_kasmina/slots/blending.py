"""Trains a seed in isolation, and blends it with a separate strength for each sample."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from esper_kasmina.slots.seed import Seed


class _StraightThrough(torch.autograd.Function):
    """Returns the host's value; the gradient is that of host + seed.

    Value and gradients equal those of ``host + (seed - seed.detach())``, but it takes one copy
    instead of two sums, and an infinite or NaN seed does not change the value.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(host: Tensor, seed: Tensor) -> Tensor:
        """Returns the host's value."""
        del seed
        return host.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Saves nothing, because the backward pass needs no values."""

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the whole gradient for both inputs."""
        return gradient, gradient


class _StraightThroughForward(_StraightThrough):
    """The same with a forward-mode derivative, which ``torch.compile`` cannot trace."""

    @staticmethod
    def jvp(_ctx: Any, host: Tensor | None, seed: Tensor | None) -> Tensor | None:
        """Returns the sum of both tangents; the tangent of an input that has none is ``None``."""
        if host is None or seed is None:
            return seed if host is None else host.clone()
        return host + seed


def isolate(hidden: Tensor, seed: Seed) -> Tensor:
    """Trains a seed without changing the host's outputs or gradients.

    The seed gets the gradient that it would get at full strength. Its input is detached.
    """
    if not torch.is_grad_enabled() and not seed.training:
        return hidden
    function = _StraightThrough if torch.compiler.is_compiling() else _StraightThroughForward
    output: Tensor = function.apply(hidden, seed.blended(hidden.detach()))
    return output


def blend_overridden(
    hidden: Tensor, seed: Seed, strength: Tensor, overrides: Tensor, *, isolated: bool
) -> Tensor:
    """Blends a seed with a separate strength for each sample; 0 leaves the sample unchanged.

    Args:
        hidden: The host's activations.
        seed: The seed.
        strength: The slot's own strength, [].
        overrides: One value per sample that broadcasts over ``hidden``; NaN takes ``strength``.
        isolated: Whether samples that take ``strength`` train the seed in isolation.
    """
    own = overrides.isnan()
    strengths = torch.where(own, strength, overrides)
    # ``where``, because strength 0 times an infinite seed would be NaN.
    blended = torch.where(strengths == 0.0, hidden, seed.blended(hidden, strengths))
    return torch.where(own, isolate(hidden, seed), blended) if isolated else blended
