"""What seeds can be made of: one module a blueprint, one registry line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from esper_kasmina.activations import Activations
from esper_kasmina.blueprints import cnn, tokens
from esper_kasmina.blueprints.cnn import (
    bottleneck,
    conv_heavy,
    conv_light,
    conv_small,
    depthwise,
)
from esper_kasmina.blueprints.tokens import flex_attention, lora, mlp
from esper_leyline import Blueprint, Topology

BranchBuilder = Callable[[Activations], nn.Module]
"""Builds a branch for the activations of a slot.

A branch maps activations to the same shape; it must not vanish at birth, because the
zero that makes a seed the identity sits on the scale behind it.
"""

_VECTORS: dict[Blueprint, BranchBuilder] = {
    Blueprint.NORM: tokens.norm.build,
    Blueprint.LORA: lora.build,
    Blueprint.LORA_LARGE: lora.build_large,
    Blueprint.MLP_SMALL: mlp.build_small,
    Blueprint.MLP: mlp.build,
}

BLUEPRINTS: Mapping[Topology, Mapping[Blueprint, BranchBuilder]] = MappingProxyType(
    {
        Topology.CNN: MappingProxyType(
            {
                Blueprint.CONV_LIGHT: conv_light.build,
                Blueprint.ATTENTION: cnn.attention.build,
                Blueprint.NORM: cnn.norm.build,
                Blueprint.DEPTHWISE: depthwise.build,
                Blueprint.BOTTLENECK: bottleneck.build,
                Blueprint.CONV_SMALL: conv_small.build,
                Blueprint.CONV_HEAVY: conv_heavy.build,
            }
        ),
        Topology.TRANSFORMER: MappingProxyType(
            {
                Blueprint.ATTENTION: tokens.attention.build,
                Blueprint.FLEX_ATTENTION: flex_attention.build,
                **_VECTORS,
            }
        ),
        Topology.MLP: MappingProxyType(_VECTORS),
    }
)
"""What builds each blueprint's branch, by the topology of the slot."""
