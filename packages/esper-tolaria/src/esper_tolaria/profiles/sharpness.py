"""Sharpness of the loss around the weights of a host, in filter-normalized random directions.

Li, Xu, Taylor, Studer and Goldstein, "Visualizing the Loss Landscape of Neural Nets" (2018):
weights of one function may differ in scale, so a step of a fixed length says little. Each filter
of a random direction therefore gets the norm of the filter of the weights that it is added to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from esper_leyline import MorphogeneticHost
from esper_leyline.profiles import Sharpness

RADIUS = 0.1
"""Length of a step, as a share of the norm of each filter."""

DIRECTIONS = 4
"""Random directions; a step is made forward and backward in each."""

_PURPOSE = 1
"""Third word of the random seed: other generators of a host have two words."""


def measure_losses(
    host: MorphogeneticHost, loss: Callable[[], Tensor], *, rng_seed: int, epoch: int
) -> list[Tensor]:
    """Returns the loss after each step from the weights; does not wait for the device.

    The weights are the same as before, to the bit, also after an error.

    Args:
        host: In evaluation mode, or ``loss`` brings it there.
        loss: Computes the loss of the host with its current weights, a scalar.
        rng_seed: Of the host; seeds the directions together with the epoch.
        epoch: Counted from 1.
    """
    # Li et al. leave biases and norm layers as they are; both have vectors only.
    filters = [each for _, each in host.named_parameters() if each.dim() > 1]
    generator = _generator(rng_seed, epoch)
    losses = []
    with _restored(filters) as originals:
        for _ in range(DIRECTIONS):
            steps = [RADIUS * random_direction(each, generator) for each in originals]
            for sign in (1.0, -1.0):
                _move(filters, originals, steps, sign)
                losses.append(loss())
    return losses


def random_direction(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Returns a random direction whose filters have the norms of those of the weights.

    Args:
        weights: [filters, ...], on any device.
        generator: On the CPU, so that directions are the same for every device.
    """
    direction = torch.randn(weights.shape, generator=generator).to(weights)
    shape = (-1, *[1] * (weights.dim() - 1))
    # d_i <- d_i / |d_i| * |w_i| for each filter i
    scale = weights.flatten(1).norm(dim=1) / direction.flatten(1).norm(dim=1).clamp(min=1e-12)
    scaled: Tensor = direction * scale.view(shape)
    return scaled


def describe_sharpness(base: float, losses: Sequence[float]) -> Sharpness:
    """Compares the losses after the steps with the loss at the weights, all in nats."""
    rises = [each - base for each in losses]
    return Sharpness(
        radius=RADIUS,
        directions=DIRECTIONS,
        mean_rise=sum(rises) / len(rises),
        largest_rise=max(rises),
    )


@torch.no_grad()
def _move(
    filters: Sequence[Parameter], originals: Sequence[Tensor], steps: Sequence[Tensor], sign: float
) -> None:
    for parameter, original, step in zip(filters, originals, steps, strict=True):
        parameter.copy_(original + sign * step)


@contextmanager
def _restored(parameters: Sequence[Parameter]) -> Iterator[list[Tensor]]:
    """Copies parameters and restores the copies: subtracting a step would round."""
    originals = [each.detach().clone() for each in parameters]
    try:
        yield originals
    finally:
        with torch.no_grad():
            for parameter, original in zip(parameters, originals, strict=True):
                parameter.copy_(original)


def _generator(rng_seed: int, epoch: int) -> torch.Generator:
    words = np.random.SeedSequence((rng_seed, epoch, _PURPOSE)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> 1))
