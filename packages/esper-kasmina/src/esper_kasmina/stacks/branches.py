"""Finds the layers of a seed's branch that several seeds can share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from torch import nn

from esper_kasmina.blueprints.cnn.attention import SqueezeExcite
from esper_kasmina.layers.branch_norms import BranchNorm1d
from esper_kasmina.layers.signals import SignalConvolution
from esper_kasmina.slots.seed import Seed
from esper_kasmina.stacks import layers
from esper_kasmina.stacks.layers import Layer, Weights
from esper_kasmina.stacks.rows import stack_statistics

Description = tuple[Hashable, ...]
"""What two modules must have in common to be computed together."""


def describe(seed: Seed) -> Description | None:
    """Returns the structure of a seed; ``None`` if it has a layer that cannot be stacked.

    Seeds of one structure have the same parameters in the same order.
    """
    described = [_describe_layer(layer) for layer in _layers(seed.branch)]
    if any(each is None for each in described):
        return None
    return (seed.algorithm, *described)


def bind(seeds: Sequence[Seed], weights: Sequence[Weights]) -> list[Layer]:
    """Builds the layers of the branches of seeds that have one structure.

    Args:
        seeds: The seeds.
        weights: The parameters of the branches, in the order of ``branch.parameters()``.
    """
    remaining = iter(weights)
    rows = zip(*(_layers(seed.branch) for seed in seeds), strict=True)
    return [_BUILDERS[type(modules[0])](modules, remaining) for modules in rows]


def _layers(branch: nn.Module) -> list[nn.Module]:
    if type(branch) is not nn.Sequential:
        return [branch]
    return [layer for child in branch for layer in _layers(child)]


def _describe_layer(layer: nn.Module) -> Description | None:
    shapes = tuple(tuple(parameter.shape) for parameter in layer.parameters())
    match layer:
        case SignalConvolution() if type(layer) is SignalConvolution and _has_same_size(layer):
            return (SignalConvolution, shapes, layer.groups)
        case BranchNorm1d() if type(layer) is BranchNorm1d:
            return (BranchNorm1d, shapes, layer.eps, layer.momentum)
        case nn.LeakyReLU() if type(layer) is nn.LeakyReLU and layer.negative_slope > 0:
            return (nn.LeakyReLU, layer.negative_slope)
        case SqueezeExcite():
            return (SqueezeExcite, shapes)
        case _:
            return None


def _has_same_size(layer: SignalConvolution) -> bool:
    """Whether a convolution keeps the length, has no bias, and mixes all channels or none."""
    (kernel,) = layer.kernel_size
    channels = layer.in_channels
    return (
        kernel % 2 == 1
        and layer.padding == (kernel // 2,)
        and layer.stride == (1,)
        and layer.dilation == (1,)
        and layer.bias is None
        and (layer.groups == 1 or layer.groups == channels == layer.out_channels)
    )


def _convolution(modules: tuple[Any, ...], weights: Iterator[Weights]) -> Layer:
    (depthwise,) = {module.groups > 1 for module in modules}
    kind = layers.Depthwise if depthwise else layers.Convolution
    return kind(next(weights))


def bind_norm(modules: Sequence[Any], weights: Iterator[Weights]) -> layers.Norm:
    """Builds the norm of several batch norms; takes scale and shift from the weights."""
    first = modules[0]
    return layers.Norm(
        next(weights),
        next(weights),
        stack_statistics(modules),
        momentum=first.momentum,
        eps=first.eps,
    )


def _leaky_relu(modules: tuple[Any, ...], weights: Iterator[Weights]) -> Layer:
    del weights
    return layers.LeakyRelu(modules[0].negative_slope)


def _squeeze_excite(modules: tuple[Any, ...], weights: Iterator[Weights]) -> Layer:
    del modules
    return layers.SqueezeExcite(next(weights), next(weights), next(weights))


_BUILDERS: dict[type[nn.Module], Callable[[tuple[Any, ...], Iterator[Weights]], Layer]] = {
    SignalConvolution: _convolution,
    BranchNorm1d: bind_norm,
    nn.LeakyReLU: _leaky_relu,
    SqueezeExcite: _squeeze_excite,
}
