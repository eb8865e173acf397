"""The axis of the channels is inferred from the layers of a model, or asked for."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torchvision.models import ConvNeXt, swin_t
from torchvision.models.convnext import CNBlockConfig
from torchvision.ops import Permute

from esper_kasmina import ActivationSpec, KasminaError, SlotSite, graft

LAST = {"layout": "channels_last"}


def convnext() -> nn.Module:
    torch.manual_seed(0)
    return ConvNeXt([CNBlockConfig(16, 24, 1), CNBlockConfig(24, None, 1)], num_classes=3)


def small_swin() -> nn.Module:
    torch.manual_seed(0)
    return swin_t(num_classes=3)


def kind_at(model: nn.Module, site: str, inputs: torch.Tensor) -> ActivationSpec:
    return graft(model, {"r0c0": site}, example_inputs=inputs).slot("r0c0").activations


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ("features.1.0", ActivationSpec.maps(16)),
        ("features.1.0.block.0", ActivationSpec.maps(16)),
        ("features.1.0.block.2", ActivationSpec.maps(16, **LAST)),
        ("features.1.0.block.4", ActivationSpec.maps(64, **LAST)),
        ("features.1.0.block.5", ActivationSpec.maps(16, **LAST)),
        ("avgpool", ActivationSpec.maps(24)),
    ],
)
def test_the_layout_is_inferred_from_the_layers(site, expected):
    assert kind_at(convnext(), site, torch.randn(2, 3, 44, 44)) == expected


def test_swin_stages_have_their_channels_last():
    inputs = torch.randn(1, 3, 64, 64)
    assert kind_at(small_swin(), "features.1", inputs) == ActivationSpec.maps(96, **LAST)


def test_an_ambiguous_layout_is_an_error():
    """At 16 x 16, the 16 may be the height or the channels of the stem."""
    inputs = torch.randn(2, 3, 64, 64)
    for site in ("features.1.0.block.1", "features.1.0.block.4"):
        with pytest.raises(KasminaError, match=r"which may have its channels second or last"):
            kind_at(convnext(), site, inputs)
    grafted = graft(
        convnext(),
        {"r0c0": SlotSite("features.1.0.block.4", ActivationSpec.maps(64, **LAST))},
        example_inputs=inputs,
    )
    assert grafted.slot("r0c0").activations.channels == 64


@pytest.mark.parametrize("side", [6, 7])
def test_the_layout_after_an_activation_function_is_inferred_from_the_models_layers(side):
    plain = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1))
    assert kind_at(plain, "1", torch.randn(2, 3, side, side)) == ActivationSpec.maps(8)
    last = nn.Sequential(Permute([0, 2, 3, 1]), nn.Linear(3, 8), nn.GELU())
    assert kind_at(last, "2", torch.randn(2, 3, side, side)) == ActivationSpec.maps(8, **LAST)


def test_a_norm_that_permutes_the_axes_is_ignored():
    """torchvision's LayerNorm2d is a LayerNorm by class and takes the channels second."""
    inputs = torch.randn(1, 3, 64, 64)
    with pytest.raises(KasminaError, match="channels second or last"):
        kind_at(copy.deepcopy(convnext()), "features.0.1", inputs)
    assert kind_at(convnext(), "features.0.1", torch.randn(1, 3, 44, 44)) == ActivationSpec.maps(16)


@pytest.mark.parametrize("layout", ["NHWC", None, "channels_second"])
def test_an_unknown_layout_is_refused(layout):
    with pytest.raises(KasminaError, match="give 'channels_first' or 'channels_last'"):
        ActivationSpec.maps(3, layout=layout)


@pytest.mark.parametrize("dimensions", [0, 4])
def test_unsupported_dimensions_are_refused(dimensions):
    with pytest.raises(KasminaError, match=f"{dimensions} spatial dimensions are not supported"):
        ActivationSpec.maps(3, dimensions=dimensions)
