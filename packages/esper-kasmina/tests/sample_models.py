"""Models of torch, torchvision and this file, with sites for slots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, mobilenet_v3_small, resnet18, vit_b_16
from torchvision.models.video.resnet import BasicBlock, BasicStem, Conv3DSimple, VideoResNet

from esper_kasmina import ActivationSpec, SlotSite
from esper_leyline import Blueprint


@dataclass(frozen=True, slots=True)
class SampleModel:
    """A model, inputs for it, sites for slots, and a blueprint that fits them."""

    make: Callable[[], nn.Module]
    sites: Mapping[str, str | SlotSite]
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


def _swin() -> nn.Module:
    torch.manual_seed(0)
    return SwinTransformer(
        patch_size=[4, 4],
        embed_dim=24,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=[4, 4],
        stochastic_depth_prob=0.0,
        num_classes=4,
    )


def _video() -> nn.Module:
    torch.manual_seed(0)
    return VideoResNet(BasicBlock, [Conv3DSimple] * 4, [1, 1, 1, 1], BasicStem, num_classes=4)


class Decoder(nn.Module):
    """A small language model whose layers return tuples, as those of Hugging Face may."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 16)
        self.layers = nn.ModuleList(DecoderLayer() for _ in range(3))
        self.head = nn.Linear(16, 11)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens)
        for layer in self.layers:
            hidden, _ = layer(hidden)
        return self.head(hidden)


class DecoderLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        normed = self.norm(hidden)
        mask = nn.Transformer.generate_square_subsequent_mask(hidden.shape[1], dtype=hidden.dtype)
        seen, weights = self.attention(normed, normed, normed, attn_mask=mask)
        return hidden + seen, weights


def _decoder() -> nn.Module:
    torch.manual_seed(0)
    return Decoder()


def _causal(module: str) -> SlotSite:
    return SlotSite(module, ActivationSpec.tokens(16, causal=True), output=0)


def _text() -> Tensor:
    return torch.randint(11, (4, 6), generator=torch.Generator().manual_seed(1))


def _clips() -> Tensor:
    return torch.randn(4, 3, 4, 16, 16, generator=torch.Generator().manual_seed(1))


def _images() -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def _sequences() -> Tensor:
    return torch.randn(5, 4, 16, generator=torch.Generator().manual_seed(1))


LARGE = frozenset({"vit_b_16", "mobilenet_v3_small", "video_resnet"})
"""Models whose compiling, exporting and distributed tests take minutes together."""


def tiered(*more: str) -> list:
    """Returns every model's name as a parameter of a test, the large ones marked nightly."""
    names = [
        pytest.param(name, marks=pytest.mark.nightly) if name in LARGE else name
        for name in SAMPLE_MODELS
    ]
    return [*names, *more]


SAMPLE_MODELS = {
    "resnet18": SampleModel(
        _resnet,
        {"r0c0": "layer1", "r0c1": "layer2.0", "r0c2": "layer3.1.conv1"},
        _images,
        Blueprint.CONV_LIGHT,
    ),
    "mobilenet_v3_small": SampleModel(
        _mobilenet,
        {"r0c0": "features.2", "r0c1": "features.4.block.1.1", "r0c2": "features.5"},
        _images,
        Blueprint.DEPTHWISE,
    ),
    "vit_b_16": SampleModel(
        _vit,
        {
            "r0c0": "encoder.layers.encoder_layer_2",
            "r0c1": "encoder.layers.encoder_layer_5.mlp",
            "r0c2": "encoder.layers.encoder_layer_9",
        },
        _images,
        Blueprint.LORA,
    ),
    "transformer_encoder": SampleModel(
        _encoder,
        {"r0c0": "layers.0", "r0c1": "layers.1", "r0c2": "layers.2"},
        _sequences,
        Blueprint.ATTENTION,
        batch_axis=1,
    ),
    "swin": SampleModel(
        _swin,
        {"r0c0": "features.0", "r0c1": "features.1.1", "r0c2": "features.3"},
        _images,
        Blueprint.DEPTHWISE,
    ),
    "video_resnet": SampleModel(
        _video,
        {"r0c0": "layer1", "r0c1": "layer2.0", "r0c2": "layer3"},
        _clips,
        Blueprint.CONV_LIGHT,
    ),
    "decoder": SampleModel(
        _decoder,
        {
            "r0c0": _causal("layers.0"),
            "r0c1": SlotSite("layers.1.attention", output=0),
            "r0c2": _causal("layers.2"),
        },
        _text,
        Blueprint.ATTENTION,
    ),
}
