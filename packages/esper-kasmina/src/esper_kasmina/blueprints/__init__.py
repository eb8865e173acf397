"""What seeds can be made of: one module a blueprint, one registry line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from esper_kasmina.blueprints import (
    attention,
    bottleneck,
    conv_heavy,
    conv_light,
    conv_small,
    depthwise,
    norm,
)
from esper_leyline import Blueprint

BranchBuilder = Callable[[int, int], nn.Module]
"""Builds a branch from its channels and its number of spatial dimensions.

A branch maps [B, C, ...] to the same shape; it must not vanish at birth, because the
zero that makes a seed the identity sits on the scale behind it.
"""

CNN_BLUEPRINTS: Mapping[Blueprint, BranchBuilder] = MappingProxyType(
    {
        Blueprint.CONV_LIGHT: conv_light.build,
        Blueprint.ATTENTION: attention.build,
        Blueprint.NORM: norm.build,
        Blueprint.DEPTHWISE: depthwise.build,
        Blueprint.BOTTLENECK: bottleneck.build,
        Blueprint.CONV_SMALL: conv_small.build,
        Blueprint.CONV_HEAVY: conv_heavy.build,
    }
)
"""The blueprints that fit feature maps, by name."""
