"""What is known of one blueprint."""

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

A branch maps activations to the same shape; it must not vanish at birth, because the
zero that makes a seed the identity sits on the scale behind it. Maps reach it with the
channels second, whatever their layout.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlueprintSpec:
    """A kind of seed: what it is called, where it fits and how it is built.

    Attributes:
        blueprint: Its name.
        topologies: The kinds of activations it takes.
        build: Builds its branch.
        parameters: Returns the branch's number of parameters, where that is known without
            building one.
    """

    blueprint: str
    topologies: frozenset[Topology]
    build: BranchBuilder
    parameters: Callable[[ActivationSpec], int] | None = None

    def count_parameters(self, activations: ActivationSpec) -> int:
        """Returns how many parameters a seed of this kind has, its scale included.

        The number is what ``parameters`` says, or that of a branch built on the meta device,
        which holds no values. The gate of a GATE style comes on top.

        Args:
            activations: What flows through the slot.
        """
        if self.parameters is not None:
            return 1 + self.parameters(activations)
        with seeded(0), torch.device("meta"):
            branch = self.build(activations)
        return 1 + sum(parameter.numel() for parameter in branch.parameters())
