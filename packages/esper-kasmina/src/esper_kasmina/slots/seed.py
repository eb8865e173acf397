"""A seed: a branch whose output is multiplied by a scale that starts at zero."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.blueprints import BLUEPRINTS
from esper_kasmina.layers.builders import ChannelsLast, convolution
from esper_kasmina.layers.seeding import seeded
from esper_leyline import BlendAlgorithm, SeedState, Topology


class GateNetwork(nn.Module):
    """Computes a factor between 0 and 2 for each position, by which the seed is multiplied.

    The factor is 2 * sigmoid(logit), as in Swietojanski and Renals (2014). It is 1 at
    initialisation, so adding a gate to a seed changes no output.
    """

    def __init__(self, activations: ActivationSpec) -> None:
        super().__init__()
        maps = activations.topology is Topology.CNN
        width = activations.channels
        # With the channels last, a linear layer is a convolution with kernel size 1.
        self.logit = (
            convolution(width, 1, kernel=1, dimensions=activations.dimensions, bias=True)
            if maps and activations.layout == "channels_first"
            else nn.Linear(width, 1)
        )
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor) -> Tensor:
        """Returns one factor per position; the axis of the channels has size 1."""
        return 2.0 * torch.sigmoid(self.logit(hidden))


class Seed(nn.Module):
    """The module x + scale * branch(x), which is blended with the host by an algorithm.

    ``scale`` is one number that starts at zero (ReZero, Bachlechner et al. 2021), so a new seed is
    the identity. The scale multiplies the output of the branch's norm, so its first gradient is
    neither very small nor very large. The branch gets gradients when the scale is not zero any
    more.

    Attributes:
        blueprint: Name of the branch's blueprint.
        activations: The kind of activations that the seed takes and returns.
        algorithm: How its output is blended with the host's.
        scale: Learnable scalar, shape [1].
        branch: The module that the blueprint built.
        gate: The network of the GATE algorithm, ``None`` for the others.
        frozen: Whether parameters and running statistics are fixed until the seed is removed.
    """

    def __init__(
        self,
        blueprint: str,
        activations: ActivationSpec,
        algorithm: BlendAlgorithm = BlendAlgorithm.ADD,
    ) -> None:
        """Builds a seed of a blueprint that fits the activations' topology."""
        super().__init__()
        self.blueprint = blueprint
        self.activations = activations
        self.frozen = False
        spec = BLUEPRINTS[activations.topology][blueprint]
        branch = spec.build(activations.channels_second())
        last = activations.layout == "channels_last"
        self.branch = ChannelsLast(branch) if last else branch
        self.scale = nn.Parameter(torch.zeros(1))  # not [], because FSDP cannot shard a scalar
        self.gate: GateNetwork | None = None
        self.algorithm = algorithm
        self.set_algorithm(algorithm)

    def forward(self, hidden: Tensor) -> Tensor:
        """Returns activations with the seed blended in at full strength."""
        return self.blended(hidden)

    def blended(self, hidden: Tensor, strength: Tensor | None = None) -> Tensor:
        """Blends the seed with activations. The host gets gradients through the identity path.

        With branch b, scale c, gate g and strength a, activations x become

        - ADD: x + a c b(x)
        - MULTIPLY: x (1 + a tanh(c b(x)))
        - GATE: x + a c g(x) b(x)

        Args:
            hidden: The host's activations.
            strength: A number [], or a tensor that broadcasts over ``hidden``; ``None`` is
                full strength.

        Returns:
            Activations of the same shape and dtype.
        """
        change = self.branch(hidden)  # b(x)
        scale = self.scale.view(())  # c
        if self.algorithm is BlendAlgorithm.MULTIPLY:
            factor = torch.tanh(scale * change)
            if strength is not None:
                factor = strength * factor  # a tanh(c b(x))
            return torch.addcmul(hidden, hidden, factor.to(hidden.dtype))  # x + x * factor
        weight = scale if strength is None else strength * scale  # a c
        if self.gate is not None:
            weight = weight * self.gate(hidden)  # a c g(x)
        # Under autocast a branch may return another dtype. x + weight * b(x)
        return torch.addcmul(hidden, weight.to(hidden.dtype), change.to(hidden.dtype))

    def set_algorithm(self, algorithm: BlendAlgorithm) -> None:
        """Changes the blend algorithm; adds a gate for GATE, and removes it for the others."""
        self.algorithm = algorithm
        if algorithm is not BlendAlgorithm.GATE:
            self.gate = None
        elif self.gate is None:
            self.gate = GateNetwork(self.activations).to(self.scale).train(self.training)

    def train(self, mode: bool = True) -> Seed:
        """Sets the mode; a frozen seed stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    @contextmanager
    def in_eval_mode(self) -> Iterator[None]:
        """Puts the seed into evaluation mode in the block, so that norms use running statistics."""
        super().train(mode=False)
        try:
            yield
        finally:
            self.train()

    def freeze(self) -> None:
        """Fixes parameters and running statistics."""
        self.frozen = True
        self.requires_grad_(requires_grad=False)
        self.zero_grad(set_to_none=True)
        self.train(mode=False)

    def matches(self, other: Seed) -> bool:
        """Whether another seed has the same structure, so that its values can be loaded."""
        return (
            self.blueprint == other.blueprint  # both kinds of attention have the same tensors
            and self.algorithm is other.algorithm
            and self.frozen == other.frozen
            and self.scale.is_meta == other.scale.is_meta
            and {name: tensor.shape for name, tensor in self.state_dict().items()}
            == {name: tensor.shape for name, tensor in other.state_dict().items()}
        )

    def reset_parameters(self) -> None:
        """Sets the scale to zero; the layers of the branch have their own method."""
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


def build_seed(
    state: SeedState, activations: ActivationSpec, *, rng_parts: tuple[int | str, ...]
) -> Seed:
    """Builds the seed that a state of the lifecycle describes.

    The state of torch's global generator does not change.

    Args:
        state: A state with a blueprint.
        activations: The kind of activations in the slot.
        rng_parts: What the random seed of the weights is made of.
    """
    assert state.blueprint is not None
    assert state.style is not None
    with seeded(*rng_parts):
        seed = Seed(state.blueprint, activations, state.style.algorithm)
    if state.pruning:
        seed.freeze()
    return seed
