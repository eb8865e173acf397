"""Grown models and harvests with pruned channels, and with masked weights."""

from __future__ import annotations

import pytest
import torch
import torch_pruning
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm

from esper_kasmina import BLUEPRINTS, ActivationSpec, SlotSite, graft, harvest
from esper_leyline import Blueprint, SeedStage, Topology

from .lifecycle_helpers import epoch, raise_seed

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(4, 5, 12, generator=torch.Generator().manual_seed(0))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(12, 16)
        self.second = nn.Linear(16, 16)
        self.head = nn.Linear(16, 2)

    def forward(self, tokens):
        return self.head(self.second(self.first(tokens).relu()).relu())


def images():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 8, 3),
        nn.Flatten(),
        nn.Linear(288, 2),
    )


def grown(blueprint, topology, stage=SeedStage.FOSSILIZED):
    if topology is Topology.CNN:
        model, place, inputs = images(), SlotSite("0"), IMAGES
    else:
        model, place, inputs = Tokens(), SlotSite("first", ActivationSpec.tokens(16)), TOKENS
    grafted = graft(model, {"r0c0": place}, example_inputs=inputs)
    raise_seed(grafted, "r0c0", stage, blueprint, inputs)
    return grafted.eval(), inputs


CASES = [
    pytest.param(blueprint, topology, id=f"{topology.value}-{blueprint}")
    for topology in (Topology.CNN, Topology.TRANSFORMER)
    for blueprint in sorted(BLUEPRINTS[topology])
]


@pytest.mark.filterwarnings("ignore:Unwrapped parameters detected")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize(("blueprint", "topology"), CASES)
def test_channels_of_a_harvest_can_be_pruned(blueprint, topology):
    grafted, inputs = grown(blueprint, topology)
    plain = harvest(grafted)
    size = sum(p.numel() for p in plain.parameters())
    packed = [m for n, m in plain.named_modules() if n.endswith("branch.project")]
    *_, head = (module for module in plain.modules() if isinstance(module, nn.Linear))
    pruner = torch_pruning.pruner.BasePruner(
        plain,
        inputs,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.5,
        ignored_layers=[head],
        num_heads=dict.fromkeys(packed, 4),
    )
    pruner.step()
    assert plain(inputs).shape == (*inputs.shape[: 1 if topology is Topology.CNN else 2], 2)
    assert sum(p.numel() for p in plain.parameters()) < 0.6 * size
    plain.train()(inputs).sum().backward()


@pytest.mark.parametrize("stage", [SeedStage.TRAINING, SeedStage.HOLDING, SeedStage.FOSSILIZED])
@pytest.mark.parametrize(("blueprint", "topology"), CASES)
def test_a_grown_model_with_masked_weights_is_harvested(blueprint, topology, stage):
    grafted, inputs = grown(blueprint, topology, stage)
    layers = [
        (module, "weight")
        for module in grafted.modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=0.3)
    epoch(grafted, inputs, measured="r0c0")
    grafted.eval()
    wanted = grafted(inputs)  # with a graph, as in a training loop
    with grafted.slot("r0c0").held_out():
        without = grafted(inputs)
    plain = harvest(grafted, drop_live=True)
    if stage is SeedStage.FOSSILIZED:
        assert torch.equal(plain(inputs), wanted)
    else:
        torch.testing.assert_close(plain(inputs), without)
    for module, name in layers:
        prune.remove(module, name)
    torch.testing.assert_close(grafted(inputs), wanted)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "norm", [weight_norm, parametrizations.weight_norm], ids=["hook", "parametrized"]
)
def test_normalised_weights_are_copied(norm):
    model = Tokens()
    norm(model.second)
    grafted = graft(model, {"r0c0": "second"}, example_inputs=TOKENS)
    raise_seed(grafted, "r0c0", SeedStage.FOSSILIZED, Blueprint.LORA, TOKENS)
    wanted = grafted.eval()(TOKENS)
    torch.testing.assert_close(harvest(grafted)(TOKENS), wanted)
