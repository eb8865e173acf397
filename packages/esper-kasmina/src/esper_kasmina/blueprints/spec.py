"""The description of one blueprint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from esper_kasmina.activations.spec import ActivationSpec
from esper_kasmina.layers.seeding import seeded
from esper_leyline import Topology

BranchBuilder = Callable[[ActivationSpec], nn.Module]
"""Builds a branch for the activations of a slot.

A branch returns the shape of its input. A new branch must not return zeros: the seed's scale is
already 0, and with both at zero neither would get a gradient. Maps always have their channels
second.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlueprintSpec:
    """A kind of seed.

    Attributes:
        blueprint: Its name.
        topologies: The kinds of activations that it takes.
        build: Builds its branch.
        parameters: Returns the branch's number of parameters; ``None`` counts those of a branch.
    """

    blueprint: str
    topologies: frozenset[Topology]
    build: BranchBuilder
    parameters: Callable[[ActivationSpec], int] | None = None

    def count_parameters(self, activations: ActivationSpec) -> int:
        """Returns how many parameters a seed of this kind has, including its scale.

        Without ``parameters``, a branch is built on the meta device and counted. The gate of a
        blend style with a gate is not included.

        Args:
            activations: The kind of activations in the slot.
        """
        if self.parameters is not None:
            return 1 + self.parameters(activations)
        with seeded(0), torch.device("meta"):
            branch = self.build(activations)
        return 1 + sum(parameter.numel() for parameter in branch.parameters())
