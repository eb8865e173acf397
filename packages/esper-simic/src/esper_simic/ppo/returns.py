"""Advantages and returns over rollouts of unequal length."""

from __future__ import annotations

import torch
from torch import Tensor

from esper_simic.ppo.losses import standardize


def gae(
    rewards: Tensor,
    values: Tensor,
    *,
    terminal: Tensor,
    last: Tensor,
    valid: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantage estimation (Schulman et al. 2016).

    Args:
        rewards: [T, N].
        values: [T + 1, N]; the last row, or the row after an episode's last step, is the
            value of what that step led to.
        terminal: [T, N] bool, true where nothing of value follows the step.
        last: [T, N] bool, true at the last step of an episode, terminal or cut. A cut
            one, and the rollout's own end, is bootstrapped with the value that follows.
        valid: [T, N] bool, false for steps after an episode's end.
        gamma: Discount.
        lam: Weight of longer returns, 0 to 1.

    Returns:
        Advantages [T, N], 0 at invalid steps.
    """
    # TD error: delta_t = r_t + gamma * V(s_{t+1}) - V(s_t)
    following = torch.where(terminal, 0.0, values[1:])
    deltas = torch.where(valid, rewards + gamma * following - values[:-1], 0.0)
    # A_t = delta_t + gamma * lambda * A_{t+1}, within an episode
    carry = torch.full_like(deltas, gamma * lam).masked_fill(last | ~valid, 0.0)
    running = torch.zeros_like(deltas[0])
    advantages = []
    for delta, factor in zip(deltas.flip(0), carry.flip(0), strict=True):
        running = delta + factor * running
        advantages.append(running)
    return torch.stack(advantages).flip(0)


def lambda_returns(advantages: Tensor, values: Tensor) -> Tensor:
    """Returns the λ-returns [T, N] that belong to ``gae``'s advantages.

    Args:
        advantages: [T, N] from ``gae``.
        values: The same [T + 1, N].
    """
    return advantages + values[:-1]


def discounted_sums(
    rewards: Tensor, valid: Tensor, gamma: float, *, starts: Tensor | None = None
) -> Tensor:
    """Returns R[t] = gamma * R[t - 1] + r[t] down each column, [T, N], 0 where invalid.

    This is the running return by which rewards are scaled (Engstrom et al. 2020). Where
    ``starts`` is true an episode starts, and R[t] = r[t].
    """
    first = ~valid if starts is None else starts | ~valid
    carry = torch.full_like(rewards, gamma).masked_fill(first, 0.0)
    running = torch.zeros_like(rewards[0])
    sums = []
    for reward, factor in zip(torch.where(valid, rewards, 0.0), carry, strict=True):
        running = factor * running + reward
        sums.append(running)
    return torch.stack(sums)


def head_advantages(
    first: Tensor, others: Tensor, choosable: Tensor, *, smallest_std: float
) -> Tensor:
    """Standardises the advantages over each baseline, and gives every head its own.

    Args:
        first: Advantages over V(s), [T, N]: of the first head.
        others: Advantages over Q(s, a) of the first head's choice a, [T, N]: of the other heads.
        choosable: [T, N, heads] bool. An advantage is standardised over the steps at which one
            of its heads had a choice.
        smallest_std: Smallest standard deviation to divide by.

    Returns:
        [T, N, heads].
    """
    of_first = standardize(first, choosable[..., 0], smallest_std)
    of_others = standardize(others, choosable[..., 1:].any(dim=-1), smallest_std)
    rest = of_others.unsqueeze(-1).expand(*of_others.shape, choosable.shape[-1] - 1)
    return torch.cat((of_first.unsqueeze(-1), rest), dim=-1)
