"""A blueprint: what a seed is made of."""

from __future__ import annotations

from torch import Tensor, nn

from esper_kasmina import ActivationSpec, BlueprintSpec
from esper_leyline import Topology


class Dilated(nn.Module):
    """A convolution that looks two positions away, over signals [B, C, L] or images."""

    def __init__(self, activations: ActivationSpec) -> None:
        super().__init__()
        layer = nn.Conv1d if activations.dimensions == 1 else nn.Conv2d
        channels = activations.channels
        self.convolution = layer(channels, channels, 3, padding=2, dilation=2)

    def forward(self, maps: Tensor) -> Tensor:
        """Returns maps of the same shape."""
        return self.convolution(maps).tanh()


DILATED = BlueprintSpec(blueprint="dilated", topologies=frozenset({Topology.CNN}), build=Dilated)
