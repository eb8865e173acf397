"""Seeds take the dtype of their activations, and batches of one row."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from esper_kasmina import BLUEPRINTS, ActivationSpec, SeedSlot, graft
from esper_leyline import Advance, Blueprint, Germinate, SeedStage, Topology

from .lifecycle_helpers import give, raise_seed


class Border(nn.Module):
    """A backbone in bfloat16, and a head in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()).bfloat16()
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(32, 4)

    def forward(self, inputs):
        hidden = self.pool(self.backbone(inputs.bfloat16()))
        return self.head(hidden.flatten(1).float())


@pytest.mark.parametrize("site", ["backbone", "backbone.0", "backbone.1", "pool", "head"])
def test_a_seed_has_the_dtype_of_its_activations(site):
    torch.manual_seed(0)
    model, inputs = Border(), torch.randn(4, 3, 6, 6)
    expected = torch.float32 if site == "head" else torch.bfloat16
    grafted = graft(model, {"r0c0": site}, example_inputs=inputs)
    blueprint = Blueprint.MLP if site == "head" else Blueprint.DEPTHWISE
    raise_seed(grafted, "r0c0", SeedStage.HOLDING, blueprint, inputs)
    assert {p.dtype for p in grafted.slot("r0c0").seed.parameters()} == {expected}
    assert grafted(inputs).dtype == torch.float32


def test_a_slot_in_the_models_own_code_takes_the_dtype_of_its_inputs():
    slot = SeedSlot("r0c0", ActivationSpec.features(4))
    slot(torch.randn(3, 4, dtype=torch.float64))
    assert slot.apply_command(Germinate(blueprint=Blueprint.MLP)).accepted
    assert {p.dtype for p in slot.seed.parameters()} == {torch.float64}


def test_autocast_does_not_change_the_dtype_of_seeds():
    """Activations are narrow there, and weights are not."""
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    inputs = torch.randn(3, 4)
    for site in ("0", "1"):
        grafted = graft(copy.deepcopy(model), {"r0c0": site})
        with torch.autocast("cpu", dtype=torch.bfloat16):
            grafted(inputs)
        give(grafted, "r0c0", Germinate(blueprint=Blueprint.MLP))
        assert {p.dtype for p in grafted.parameters()} == {torch.float32}


class Pooled(nn.Module):
    """Trains on batches of one row: no layer of it looks across samples."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        convolution = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        pool = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
        self.convolution = convolution(3, 8, 3, padding=1)
        self.pool = pool[dimensions](1)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs):
        return self.head(self.pool(self.convolution(inputs)).flatten(1))


@pytest.mark.parametrize("stage", [SeedStage.TRAINING, SeedStage.HOLDING])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("blueprint", sorted(BLUEPRINTS[Topology.CNN]), ids=lambda b: b.name)
def test_a_batch_of_one_row_is_accepted_if_the_host_accepts_it(blueprint, dimensions, stage):
    torch.manual_seed(0)
    many = torch.randn(4, 3, *(5,) * dimensions)
    grafted = graft(Pooled(dimensions), {"r0c0": "pool"}, example_inputs=many)
    raise_seed(grafted, "r0c0", stage, blueprint, many)
    grafted.train()
    seed = grafted.slot("r0c0").seed
    before = copy.deepcopy(dict(seed.named_buffers()))
    grafted.zero_grad()
    grafted(many[:1]).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in grafted.parameters())
    assert seed.training
    assert all(module.training for module in seed.modules())
    assert all(torch.equal(before[name], value) for name, value in seed.named_buffers())
    grafted(many)
    assert not before or any(
        not torch.equal(before[name], value) for name, value in seed.named_buffers()
    )


def test_a_frozen_seed_stays_frozen_after_a_batch_of_one_row():
    grafted = graft(Pooled(2), {"r0c0": "pool"}, example_inputs=torch.randn(4, 3, 5, 5))
    give(grafted, "r0c0", Germinate(blueprint=Blueprint.NORM))
    give(grafted, "r0c0", Advance())
    seed = grafted.slot("r0c0").seed
    seed.freeze()
    grafted.train()(torch.randn(1, 3, 5, 5))
    assert not seed.training
