"""Other people's models, with places for slots in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small, resnet18, vit_b_16

from esper_leyline import Blueprint


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A model, an input for it, and where seeds of what kind may grow."""

    make: Callable[[], nn.Module]
    places: Mapping[str, str]
    inputs: Callable[[], Tensor]
    blueprint: Blueprint
    batch_axis: int = 0


def _resnet() -> nn.Module:
    torch.manual_seed(0)
    return resnet18(num_classes=4)


def _mobilenet() -> nn.Module:
    torch.manual_seed(0)
    return mobilenet_v3_small(num_classes=4, dropout=0.0)


def _vit() -> nn.Module:
    torch.manual_seed(0)
    model = vit_b_16(image_size=32, num_classes=4)
    nn.init.normal_(model.heads.head.weight, std=0.02)  # born zero, it hides everything before it
    return model


def _encoder() -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, dim_feedforward=32, dropout=0.0)
    return nn.TransformerEncoder(layer, num_layers=3, enable_nested_tensor=False)


def _images() -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def _sequences() -> Tensor:
    return torch.randn(5, 4, 16, generator=torch.Generator().manual_seed(1))


ZOO = {
    "resnet18": Exhibit(
        _resnet,
        {"r0c0": "layer1", "r0c1": "layer2.0", "r0c2": "layer3.1.conv1"},
        _images,
        Blueprint.CONV_LIGHT,
    ),
    "mobilenet_v3_small": Exhibit(
        _mobilenet,
        {"r0c0": "features.2", "r0c1": "features.4.block.1.1", "r0c2": "features.5"},
        _images,
        Blueprint.DEPTHWISE,
    ),
    "vit_b_16": Exhibit(
        _vit,
        {
            "r0c0": "encoder.layers.encoder_layer_2",
            "r0c1": "encoder.layers.encoder_layer_5.mlp",
            "r0c2": "encoder.layers.encoder_layer_9",
        },
        _images,
        Blueprint.LORA,
    ),
    "transformer_encoder": Exhibit(
        _encoder,
        {"r0c0": "layers.0", "r0c1": "layers.1", "r0c2": "layers.2"},
        _sequences,
        Blueprint.ATTENTION,
        batch_axis=1,
    ),
}
