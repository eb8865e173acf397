"""A harvest changes nothing but the slot's submodule, in modules of many kinds."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import fx, nn

from esper_kasmina import BLUEPRINTS, ActivationSpec, SlotSite, graft, harvest
from esper_leyline import BlendStyle, Blueprint, SeedStage, Topology

from .lifecycle_helpers import raise_seed

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*deprecated")
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def conv(inputs: int = 3, outputs: int = 8) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Indexes(nn.Module):
    """Indexes and counts the slot's module."""

    def __init__(self) -> None:
        super().__init__()
        self.seq = nn.Sequential(conv(), nn.ReLU(), conv(8, 8))

    def forward(self, inputs):
        hidden = self.seq(inputs)
        return self.seq[-1](hidden) * len(self.seq) + hidden


class ByName(nn.Module):
    """Reads the weight of the slot's module, and runs it by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = conv()

    def forward(self, inputs):
        return self.layer(inputs) * self.layer.weight.mean()


class Loops(nn.Module):
    """Runs its children in a loop, which no torch container does for it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        for index, layer in enumerate(layers):
            self.add_module(f"layer{index}", layer)

    def forward(self, inputs):
        for layer in self.children():
            inputs = layer(inputs)
        return inputs


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([conv(), conv(8, 8)])
        self.heads = nn.ModuleDict({"a": conv(8, 8), "b": nn.Sequential(conv(8, 8), nn.ReLU())})

    def forward(self, inputs):
        for layer in self.layers:
            inputs = layer(inputs)
        return sum(head(inputs) for head in self.heads.values())


class Counted(nn.Sequential):
    """A Sequential with a forward pass of its own."""

    def forward(self, inputs):
        for layer in self:
            inputs = layer(inputs)
        return inputs * len(self)


class Shortcut(nn.Module):
    """Holds an empty Sequential, as residual blocks do."""

    def __init__(self) -> None:
        super().__init__()
        self.shortcut = nn.Sequential()
        self.conv = conv()

    def forward(self, inputs):
        return self.shortcut(self.conv(inputs))


def named(*layers: nn.Module, start: int = 1) -> nn.Sequential:
    return nn.Sequential(OrderedDict((str(start + i), layer) for i, layer in enumerate(layers)))


MODELS = {
    "names from 1": (lambda: nn.Sequential(named(conv(), nn.ReLU()), conv(8, 8)), {"r0c0": "0"}),
    "root from 1": (lambda: named(conv(), nn.ReLU()), {"r0c0": "1", "r0c1": "2"}),
    "a slice": (lambda: nn.Sequential(nn.Identity(), conv(), nn.ReLU())[1:], {"r0c0": "1"}),
    "inside a slice": (
        lambda: nn.Sequential(nn.Sequential(nn.Identity(), conv(), nn.ReLU())[1:]),
        {"r0c0": "0"},
    ),
    "indexes": (Indexes, {"r0c0": "seq"}),
    "indexes a member": (Indexes, {"r0c0": "seq.1"}),
    "by name": (ByName, {"r0c0": "layer"}),
    "loops": (lambda: nn.Sequential(Loops(conv(), nn.ReLU())), {"r0c0": "0"}),
    "loops outside": (lambda: Loops(conv(), nn.Sequential(nn.ReLU())), {"r0c0": "layer1"}),
    "list and dict": (Listed, {"r0c0": "layers.0", "r0c1": "heads.a", "r0c2": "heads.b"}),
    "subclass": (lambda: Counted(conv(), Counted(nn.ReLU(), conv(8, 8))), {"r0c0": "1"}),
    "empty": (Shortcut, {"r0c0": "shortcut"}),
    "nested": (
        lambda: nn.Sequential(nn.Sequential(nn.Sequential(conv(), nn.ReLU()), conv(8, 8))),
        {"r0c0": "0", "r0c1": "0.0", "r0c2": "0.0.0"},
    ),
}


def grown(make, places, blueprint=Blueprint.ATTENTION, style=BlendStyle.LINEAR_ADD):
    torch.manual_seed(0)
    grafted = graft(make(), places, example_inputs=IMAGES)
    for slot in grafted.slots:
        raise_seed(grafted, slot, SeedStage.FOSSILIZED, blueprint, IMAGES, style=style)
    return grafted.eval()


def state_keys(plain: nn.Module, wrapped: list[str]) -> list[str]:
    """Names in the state dict without those of seeds, as they were before the harvest."""
    keys = [key for key in plain.state_dict() if ".grown_r0c" not in f".{key}"]
    for path in wrapped:
        keys = [
            key.replace(f"{path}.module.", f"{path}.") for key in keys if f"{path}.seed." not in key
        ]
    return keys


@pytest.mark.parametrize("name", MODELS)
def test_a_seed_runs_after_its_submodule_and_other_modules_keep_their_names(name):
    make, places = MODELS[name]
    grafted = grown(make, places)
    plain = harvest(grafted)
    torch.testing.assert_close(plain(IMAGES), grafted(IMAGES))
    assert not torch.allclose(plain(IMAGES), make()(IMAGES))
    model = make()
    wrapped = [path for path in places.values() if hasattr(plain.get_submodule(path), "seed")]
    assert sorted(state_keys(plain, wrapped)) == sorted(model.state_dict())
    for module_name, module in model.named_modules():
        if module_name in wrapped:
            assert type(module) in (nn.Conv2d, nn.ReLU)
        else:
            assert type(plain.get_submodule(module_name)) is type(module)
        if isinstance(module, nn.Sequential):
            assert len(plain.get_submodule(module_name)) == len(module)
    for twin in (copy.deepcopy(plain), pickle.loads(pickle.dumps(plain))):
        torch.testing.assert_close(twin(IMAGES), plain(IMAGES))
        assert list(twin.state_dict()) == list(plain.state_dict())
    trained = torch.optim.SGD(plain.parameters(), lr=0.1)
    plain.train()(IMAGES).square().mean().backward()
    assert all(p.grad is not None for p in plain.parameters())
    trained.step()


SCRIPTED = ("names from 1", "root from 1", "a slice", "inside a slice", "empty", "nested")


@pytest.mark.parametrize("name", SCRIPTED)
@pytest.mark.parametrize("training", [True, False])
def test_harvests_can_be_scripted_if_their_models_can(name, training):
    make, places = MODELS[name]
    torch.jit.script(make())
    for style in (BlendStyle.LINEAR_ADD, BlendStyle.LINEAR_MULTIPLY, BlendStyle.GATED_GATE):
        plain = harvest(grown(make, places, style=style)).train(training)
        expected = plain(IMAGES)
        scripted = torch.jit.script(plain)
        torch.testing.assert_close(scripted(IMAGES), expected)


@pytest.mark.parametrize("blueprint", [Blueprint.NORM, Blueprint.CONV_HEAVY, Blueprint.DEPTHWISE])
def test_seeds_of_every_blueprint_for_maps_can_be_scripted(blueprint):
    plain = harvest(grown(*MODELS["names from 1"], blueprint=blueprint))
    torch.testing.assert_close(torch.jit.script(plain)(IMAGES), plain(IMAGES))


class Words(nn.Module):
    """Reads tokens [B, T] through one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.layer = nn.Sequential(nn.Linear(16, 16), nn.GELU())

    def forward(self, tokens):
        return self.layer(self.embed(tokens))


TOKEN_SEEDS = [each for each in BLUEPRINTS[Topology.TRANSFORMER] if isinstance(each, Blueprint)]


@pytest.mark.parametrize("blueprint", TOKEN_SEEDS, ids=lambda each: each.name)
def test_seeds_of_every_blueprint_for_tokens_can_be_scripted(blueprint):
    tokens = torch.randint(20, (3, 7), generator=torch.Generator().manual_seed(3))
    site = SlotSite("layer", ActivationSpec.tokens(16, causal=True))
    grafted = graft(Words(), {"r0c0": site}, example_inputs=tokens)
    raise_seed(grafted, "r0c0", SeedStage.FOSSILIZED, blueprint, tokens)
    plain = harvest(grafted.eval())
    torch.testing.assert_close(torch.jit.script(plain)(tokens), plain(tokens))


def test_a_traced_harvest_has_the_same_outputs():
    for name in ("names from 1", "list and dict", "nested", "empty"):
        plain = harvest(grown(*MODELS[name]))
        traced = fx.symbolic_trace(plain)
        torch.testing.assert_close(traced(IMAGES), plain(IMAGES))
        assert any("seed" in str(node.target) for node in traced.graph.nodes)
