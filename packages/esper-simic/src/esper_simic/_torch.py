"""The parts of torch used here that its documentation does not describe.

Adam (Kingma and Ba 2015) calls the function behind ``torch.optim.Adam``. The class imports torch's
compiler when the first one is created, which takes 4.7 s in a process instead of 0.2 s; a step
takes the same time. ``tests/test_torch.py`` tests each use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.adam import adam

from esper_simic.errors import SimicError


class Adam:
    """Updates parameters in place from their gradients.

    Args:
        parameters: Updated in place.
        learning_rate: Step size.
        eps: Added to the root of the second moment.
        betas: Decay of the first and second moments.

    Attributes:
        learning_rate: Step size of the next step; may be set.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        *,
        learning_rate: float,
        eps: float,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self._parameters = list(parameters)
        self.learning_rate = learning_rate
        self._eps = eps
        self._betas = betas
        self._means = [torch.zeros_like(each) for each in self._parameters]
        self._squares = [torch.zeros_like(each) for each in self._parameters]
        self._steps = [torch.zeros(()) for _ in self._parameters]
        self._on_cpu = all(each.device.type == "cpu" for each in self._parameters)

    def zero_grad(self) -> None:
        """Removes all gradients, as in torch."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Updates every parameter that has a gradient."""
        chosen = [i for i, each in enumerate(self._parameters) if each.grad is not None]
        adam(
            [self._parameters[i] for i in chosen],
            [_gradient(self._parameters[i]) for i in chosen],
            [self._means[i] for i in chosen],
            [self._squares[i] for i in chosen],
            [],
            [self._steps[i] for i in chosen],
            # On a CPU one kernel reads everything once; on a GPU the steps would have to be there.
            fused=self._on_cpu,
            foreach=not self._on_cpu,
            amsgrad=False,
            beta1=self._betas[0],
            beta2=self._betas[1],
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=self._eps,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns the moments by parameter, in order; tensors are not copied."""
        return {"means": self._means, "squares": self._squares, "steps": self._steps}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Loads what ``state_dict`` returned.

        Raises:
            SimicError: If it belongs to other parameters.
        """
        pairs = ((self._means, "means"), (self._squares, "squares"), (self._steps, "steps"))
        for own, name in pairs:
            saved = state[name]
            if [each.shape for each in saved] != [each.shape for each in own]:
                raise SimicError(
                    f"the optimiser state has {len(saved)} tensors of '{name}' that do not fit "
                    f"this policy's {len(own)}; build the policy as it was saved"
                )
            for target, source in zip(own, saved, strict=True):
                target.copy_(source)


def _gradient(parameter: Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
