"""One step of AdamW and of SGD for a list of tensors, and the state that they keep of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from esper_tolaria._torch import adamw, sgd

State = dict[str, Tensor]
"""What an optimizer keeps of one tensor, by torch's names."""


def adamw_state(values: Tensor) -> State:
    """Returns the state of AdamW before the first step."""
    return {
        "step": torch.zeros((), dtype=torch.float32, device=values.device),
        "exp_avg": torch.zeros_like(values),
        "exp_avg_sq": torch.zeros_like(values),
    }


def sgd_state(values: Tensor) -> State:
    """Returns the state of SGD; a zero buffer gives the gradient in the first step, as in torch."""
    return {"momentum_buffer": torch.zeros_like(values)}


def update_adamw(
    values: Sequence[Tensor],
    gradients: Sequence[Tensor],
    states: Sequence[State],
    options: Mapping[str, Any],
    divisor: Tensor | None = None,
) -> None:
    """Updates tensors by AdamW with torch's default betas and epsilon.

    Args:
        values: What is trained.
        gradients: Of the same shapes.
        states: One for each, made by ``adamw_state``.
        options: ``lr`` and ``weight_decay``.
        divisor: [], by which all gradients are divided; ``None`` for 1.
    """
    adamw(
        list(values),
        list(gradients),
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [],
        [state["step"] for state in states],
        fused=True,
        grad_scale=divisor,
        found_inf=None,
        amsgrad=False,
        beta1=0.9,
        beta2=0.999,
        lr=options["lr"],
        weight_decay=options["weight_decay"],
        eps=1e-8,
        maximize=False,
    )


def update_sgd(
    values: Sequence[Tensor],
    gradients: Sequence[Tensor],
    states: Sequence[State],
    options: Mapping[str, Any],
    divisor: Tensor | None = None,
) -> None:
    """Updates tensors by SGD; the arguments are those of ``update_adamw`` and ``momentum``."""
    sgd(
        list(values),
        list(gradients),
        [state["momentum_buffer"] for state in states],
        fused=True,
        grad_scale=divisor,
        found_inf=None,
        weight_decay=options["weight_decay"],
        momentum=options["momentum"],
        lr=options["lr"],
        dampening=0.0,
        nesterov=False,
        maximize=False,
    )
