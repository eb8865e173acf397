"""A seed: a branch behind a scale that starts at zero."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.blueprints import BLUEPRINTS
from esper_kasmina.layers.builders import ChannelsLast, convolution
from esper_leyline import BlendAlgorithm, Topology


class GateNetwork(nn.Module):
    """A factor between 0 and 2 for every position, 1 at birth: where the seed acts, and how.

    A new gate is neutral, so a seed that gets one late does not jump. Twice a sigmoid
    is the parametrisation of Swietojanski and Renals (2014).
    """

    def __init__(self, activations: ActivationSpec) -> None:
        super().__init__()
        maps = activations.topology is Topology.CNN
        width = activations.channels
        # Over the last axis a linear layer is a 1-wide convolution, whatever came before.
        self.logit = (
            convolution(width, 1, kernel=1, dimensions=activations.dimensions, bias=True)
            if maps and activations.layout == "channels_first"
            else nn.Linear(width, 1)
        )
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor) -> Tensor:
        """Takes activations and returns one number a position, the channel axis of size 1."""
        return 2.0 * torch.sigmoid(self.logit(hidden))


class Seed(nn.Module):
    """The module x + scale · branch(x), the identity at birth, blended by an algorithm.

    ``scale`` is one number that starts at zero (ReZero, Bachlechner et al. 2021). It
    comes after the branch's own norm, so its first gradient is of ordinary size, and
    the branch learns as soon as the scale has moved.

    Attributes:
        blueprint: What the branch is.
        activations: What the seed takes and returns.
        algorithm: How it joins its host.
        scale: Learnable scalar, shape [1].
        branch: What the blueprint built.
        gate: The network of the GATE algorithm, ``None`` under the others.
        frozen: Whether parameters and running statistics stand still for good.
    """

    def __init__(
        self,
        blueprint: str,
        activations: ActivationSpec,
        algorithm: BlendAlgorithm = BlendAlgorithm.ADD,
    ) -> None:
        """Builds a seed; the blueprint has to be one of the topology's."""
        super().__init__()
        self.blueprint = blueprint
        self.activations = activations
        self.frozen = False
        spec = BLUEPRINTS[activations.topology][blueprint]
        branch = spec.build(activations.channels_second())
        last = activations.layout == "channels_last"
        self.branch = ChannelsLast(branch) if last else branch
        self.scale = nn.Parameter(torch.zeros(1))  # FSDP shards no tensor without axes
        self.gate: GateNetwork | None = None
        self.algorithm = algorithm
        self.set_algorithm(algorithm)

    def forward(self, hidden: Tensor) -> Tensor:
        """Returns activations with the seed blended in at full strength."""
        return self.blended(hidden)

    def blended(self, hidden: Tensor, strength: Tensor | None = None) -> Tensor:
        """Blends the seed into activations; gradients reach the host through the identity.

        With branch b, scale c, gate g and strength a, activations x become

        - ADD: x + a c b(x)
        - MULTIPLY: x (1 + a tanh(c b(x)))
        - GATE: x + a c g(x) b(x)

        Args:
            hidden: The host's activations.
            strength: A number [], or anything that broadcasts over ``hidden``; ``None`` is
                full strength.

        Returns:
            Activations of the same shape and dtype.
        """
        change = self.branch(hidden)
        scale = self.scale.view(())
        if self.algorithm is BlendAlgorithm.MULTIPLY:
            factor = torch.tanh(scale * change)
            if strength is not None:
                factor = strength * factor
            return torch.addcmul(hidden, hidden, factor.to(hidden.dtype))  # x + x * factor
        weight = scale if strength is None else strength * scale
        if self.gate is not None:
            weight = weight * self.gate(hidden)
        # Under autocast a branch may end in another dtype than it was given.
        return torch.addcmul(hidden, weight.to(hidden.dtype), change.to(hidden.dtype))

    def set_algorithm(self, algorithm: BlendAlgorithm) -> None:
        """Changes how the seed joins its host; a gate comes and goes with its algorithm."""
        self.algorithm = algorithm
        if algorithm is not BlendAlgorithm.GATE:
            self.gate = None
        elif self.gate is None:
            self.gate = GateNetwork(self.activations).to(self.scale).train(self.training)

    def train(self, mode: bool = True) -> Seed:
        """Switches modes as in torch; a frozen seed stays in evaluation."""
        return super().train(mode and not self.frozen)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Runs a training seed in evaluation mode for a while: its norms use what they know."""
        super().train(mode=False)
        try:
            yield
        finally:
            self.train()

    def freeze(self) -> None:
        """Stops all learning in this seed, running statistics included."""
        self.frozen = True
        self.requires_grad_(requires_grad=False)
        self.zero_grad(set_to_none=True)
        self.train(mode=False)

    def resembles(self, other: Seed) -> bool:
        """Whether another seed has the same parts, so that values can be copied across."""
        return (
            self.blueprint == other.blueprint  # two kinds of attention have the same tensors
            and self.algorithm is other.algorithm
            and self.frozen == other.frozen
            and self.scale.is_meta == other.scale.is_meta
            and {name: tensor.shape for name, tensor in self.state_dict().items()}
            == {name: tensor.shape for name, tensor in other.state_dict().items()}
        )

    def reset_parameters(self) -> None:
        """Makes the seed the identity again; the layers of its branch initialise themselves."""
        nn.init.zeros_(self.scale)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        scale = state_dict.get(f"{prefix}scale")
        if scale is not None and scale.dim() == 0:  # as version 0.1 saved it
            state_dict[f"{prefix}scale"] = scale.reshape(1)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @property
    def size(self) -> int:
        """Number of parameters, frozen or not."""
        return sum(parameter.numel() for parameter in self.parameters())
