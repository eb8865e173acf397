"""Masked categorical distributions with a probability floor, always computed in float32."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_CLOSED_LOGIT = torch.finfo(torch.float32).min
_SMALLEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedCategorical:
    """Distributions over K choices of which some are closed.

    Attributes:
        probs: [..., K], exactly 0 where closed.
        log_probs: [..., K], minus infinity where closed.
        finite_logs: [..., K], the same with 0 where closed.
        choices: [...] float32, how many are open.
    """

    probs: Tensor
    log_probs: Tensor
    finite_logs: Tensor
    choices: Tensor

    @property
    def entropy(self) -> Tensor:
        """The entropy [...] over ln(choices): 1 is uniform; 0 where there is one choice."""
        # Finite logarithms, because 0 * -inf is NaN, also in the gradient.
        nats = -(self.probs * self.finite_logs).sum(dim=-1)
        return nats / self.choices.clamp_min(2.0).log()

    def log_prob(self, index: Tensor) -> Tensor:
        """Returns the log-probability [...] of the indices [...]."""
        return self.log_probs.gather(-1, index.unsqueeze(-1)).squeeze(-1)

    def pick(self, noise: Tensor | None = None) -> Tensor:
        """Chooses one open index in each row.

        Args:
            noise: Gumbel noise [..., K]; the choice is then a sample (Gumbel-max trick,
                Maddison et al. 2014). ``None`` takes the most probable.

        Returns:
            Indices [...] int64.
        """
        scores = self.log_probs if noise is None else self.log_probs + noise
        return scores.argmax(dim=-1)


def masked_categorical(logits: Tensor, mask: Tensor, floor: float | Tensor) -> MaskedCategorical:
    """Builds p' = (1 - f) · p + f · u, where p is the softmax over the open choices.

    u is uniform over the open choices, so the floor f is the total probability that they share
    evenly, and each has at least f / choices. Closed choices have probability exactly 0, and
    their logits gradient exactly 0. A single open choice has probability exactly 1. If the
    probability of an open choice underflows, which needs a floor of 0, its logarithm is that of
    the smallest normal number.

    Args:
        logits: [..., K], any floating type.
        mask: [..., K] bool, true for open choices; a row without any gives NaN.
        floor: Probability in [0, 1), a number or a tensor that broadcasts to [..., K].
    """
    closed = ~mask
    choices = mask.sum(dim=-1, dtype=torch.float32)
    softmax = torch.softmax(logits.float().masked_fill(closed, _CLOSED_LOGIT), dim=-1)
    probs = torch.lerp(softmax, mask / choices.unsqueeze(-1), floor)
    finite_logs = probs.masked_fill(closed, 1.0).clamp_min(_SMALLEST).log()
    return MaskedCategorical(
        probs=probs,
        log_probs=finite_logs.masked_fill(closed, -math.inf),
        finite_logs=finite_logs,
        choices=choices,
    )


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draws standard Gumbel noise, always finite, on the generator's device."""
    uniform = torch.rand(shape, generator=generator, device=generator.device)
    return -torch.log(-torch.log(uniform.clamp_min(_SMALLEST)))
