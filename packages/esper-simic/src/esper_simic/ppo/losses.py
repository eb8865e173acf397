"""The pieces of PPO's objective, as pure functions of tensors.

Masks are bool; a masked mean over nothing is 0. Values under a false mask are never
read, so padding may hold anything.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked_sum(values: Tensor, mask: Tensor, dim: tuple[int, ...] | None = None) -> Tensor:
    """Sums ``values`` where ``mask`` is true."""
    kept = torch.where(mask, values, 0.0)
    return kept.sum() if dim is None else kept.sum(dim=dim)


def masked_mean(
    values: Tensor,
    mask: Tensor,
    dim: tuple[int, ...] | None = None,
    count: Tensor | None = None,
) -> Tensor:
    """Averages ``values`` where ``mask`` is true; 0 where it is true nowhere.

    Args:
        values: Any shape.
        mask: Bool, of the same shape.
        dim: Dimensions to average over, all by default.
        count: What the sum is divided by, if the values are a part of a larger batch.
    """
    if count is None:
        count = mask.sum() if dim is None else mask.sum(dim=dim)
    return masked_sum(values, mask, dim) / count.clamp_min(1)


def masked_std(values: Tensor, mask: Tensor) -> Tensor:
    """Population standard deviation of ``values`` where ``mask`` is true."""
    return masked_mean((values - masked_mean(values, mask)).square(), mask).sqrt()


def standardize(values: Tensor, mask: Tensor, smallest_std: float = 1e-8) -> Tensor:
    """Gives the masked values mean 0 and deviation 1, and the others 0.

    Args:
        values: Any shape.
        mask: Bool, of the same shape. If it is true once, that value stays as it is.
        smallest_std: Smallest deviation to divide by, so that nearly equal values are not
            scaled up.
    """
    std = masked_std(values, mask).clamp_min(smallest_std)
    scaled = (values - masked_mean(values, mask)) / std
    return torch.where(mask, torch.where(mask.sum() > 1, scaled, values), 0.0)


def clipped_surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """PPO's pessimistic surrogate (Schulman et al. 2017, eq. 7), elementwise, to be maximised."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def value_loss(
    predicted: Tensor, target: Tensor, mask: Tensor, count: Tensor | None = None
) -> Tensor:
    """Half the mean squared error over the masked steps; ``count`` as in ``masked_mean``."""
    return 0.5 * masked_mean((predicted - target).square(), mask, count=count)


def categorical_kl(old: Tensor, new: Tensor) -> Tensor:
    """KL(old || new) of categorical distributions, exact.

    It sums over all choices. An estimate from the ratios of the choices taken has heavy tails:
    a single step can be most of its mean.

    Args:
        old: Log-probabilities [..., choices]; minus infinity for a closed choice.
        new: The same, with the same closed choices.

    Returns:
        [...], in nats.
    """
    return torch.where(old > -torch.inf, old.exp() * (old - new), 0.0).sum(dim=-1)


def explained_variance(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(target - predicted) / Var(target) over the masked steps.

    NaN if the target is constant: its standard deviation is below a thousandth of its root mean
    square.
    """
    spread = masked_std(target, mask).square()
    unexplained = masked_std(target - predicted, mask).square()
    constant = spread <= 1e-6 * masked_mean(target.square(), mask)
    return torch.where(constant, torch.nan, 1 - unexplained / spread)
