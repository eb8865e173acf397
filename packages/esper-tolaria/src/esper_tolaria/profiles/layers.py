"""Gradients and weights of a host by layer."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from esper_leyline import MorphogeneticHost
from esper_leyline.profiles import EXPLODING_VALUE, PERCENTILES, LayerProfile

Layers = Mapping[str, Sequence[Parameter]]
"""The parameters of each layer, by the name of the module that owns them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradients:
    """Gradients of the layers that have some, by layer, on the device.

    Attributes:
        norms: L2 norm [].
        values: Order statistics of ``PERCENTILES``, then the shares of zero and of exploding
            values, [P + 2]; empty where only norms were measured.
    """

    norms: Mapping[str, Tensor]
    values: Mapping[str, Tensor]


def find_layers(host: MorphogeneticHost) -> Layers:
    """Returns the layers of a host and of its seeds; a shared parameter counts once."""
    layers: dict[str, list[Parameter]] = defaultdict(list)
    for name, parameter in host.named_parameters():
        layers[name.rpartition(".")[0]].append(parameter)
    return layers


@torch.no_grad()
def measure_gradients(layers: Layers, *, values: bool) -> Gradients:
    """Measures the current gradients of the layers; does not wait for the device.

    Args:
        layers: The layers of one host.
        values: Whether to measure percentiles and shares besides norms.
    """
    flat = {
        name: torch.cat([each.reshape(-1).float() for each in gradients])
        for name, parameters in layers.items()
        if (gradients := [each.grad for each in parameters if each.grad is not None])
    }
    return Gradients(
        norms={name: torch.linalg.vector_norm(each) for name, each in flat.items()},
        values={name: _describe_values(each) for name, each in flat.items()} if values else {},
    )


@torch.no_grad()
def weight_norms(layers: Layers) -> dict[str, Tensor]:
    """Returns the L2 norm [] of each layer's weights."""
    return {
        name: torch.linalg.vector_norm(torch.cat([each.reshape(-1).float() for each in parameters]))
        for name, parameters in layers.items()
    }


def describe_layers(weights: Mapping[str, Tensor], gradients: Gradients) -> list[LayerProfile]:
    """Describes the layers that exist at the end of an epoch; waits for the device."""
    read = _read({name: norm.reshape(1) for name, norm in weights.items()})
    norms = _read({name: norm.reshape(1) for name, norm in gradients.norms.items()})
    values = _read(gradients.values)
    return [
        LayerProfile(
            name=name,
            gradient_norm=norms[name][0] if name in norms else None,
            gradient_percentiles=dict(zip(PERCENTILES, values.get(name, ()), strict=False)),
            zero_share=values[name][-2] if name in values else None,
            exploding_share=values[name][-1] if name in values else None,
            weight_norm=norm,
        )
        for name, (norm,) in read.items()
    ]


def _describe_values(gradient: Tensor) -> Tensor:
    """Returns order statistics of the absolute values of a gradient [N], and its shares [P + 2]."""
    sizes = gradient.abs()
    # The nearest rank, ceil(p N / 100): torch.quantile refuses more than 16 million values.
    ranks = [max(1, math.ceil(len(sizes) * each / 100)) for each in PERCENTILES]
    statistics = [torch.kthvalue(sizes, rank).values for rank in ranks]
    zero = (sizes == 0).float().mean()
    # A comparison with NaN is false, so NaN counts as exploding.
    exploding = (~(sizes <= EXPLODING_VALUE)).float().mean()
    return torch.stack([*statistics, zero, exploding])


def _read(tensors: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Copies vectors of one length from the device, in one transfer."""
    if not tensors:
        return {}
    return dict(zip(tensors, torch.stack([*tensors.values()]).tolist(), strict=True))
