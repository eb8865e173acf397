"""A harvest keeps hooks in their order, is compared before it is returned, and can be fused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.ao.quantization import fuse_modules, quantize_dynamic
from torch.fx.experimental.optimization import fuse as fuse_graph

from esper_kasmina import (
    ActivationSpec,
    CNNHost,
    KasminaError,
    SlotSite,
    build_host,
    graft,
    harvest,
)
from esper_leyline import Blueprint, CNNHostSpec, HostOptions, SeedStage

from .lifecycle_helpers import raise_seed

pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor"),
]
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(3))


class Net(nn.Module):
    """A convolution, its norm and a head, with dropout and a buffer that counts passes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 2)
        self.passes = 0
        self.register_buffer("count", torch.zeros(()))

    def forward(self, inputs, *, scale=1.0):
        self.passes += 1
        self.count += 1
        hidden = self.drop(self.norm(self.conv(inputs)).relu())
        return self.head(hidden.mean((2, 3))) * scale


def double(_module, _inputs, output):
    return output * 2.0


def shift(_module, _inputs, output):
    return output + 1.0


def shift_by_name(_module, _inputs, _options, output):
    return output + 3.0


def halve_input(_module, inputs):
    return (inputs[0] / 2,)


def grown(model, site="norm", inputs=IMAGES):
    torch.manual_seed(0)
    known = ActivationSpec.maps(8) if site == "drop" else None
    grafted = graft(model, {"r0c0": SlotSite(site, known)}, example_inputs=inputs)
    raise_seed(grafted, "r0c0", SeedStage.FOSSILIZED, Blueprint.CONV_LIGHT, inputs)
    return grafted.eval()


def register(module: nn.Module, when: str) -> None:
    module.register_forward_pre_hook(halve_input)
    module.register_forward_hook({"before": double, "after": shift}[when])
    module.register_forward_hook(shift_by_name, with_kwargs=True, always_call=True)
    if when == "after":
        module.register_forward_hook(double, prepend=True)


@pytest.mark.parametrize("whens", [("before",), ("after",), ("before", "after")])
@pytest.mark.parametrize("site", ["conv", "norm"])
def test_hooks_of_the_user_keep_their_order(whens, site):
    model = Net()
    if "before" in whens:
        register(model.get_submodule(site), "before")
    grafted = grown(model, site)
    if "after" in whens:
        register(grafted.get_submodule(site), "after")
    plain = harvest(grafted)
    torch.testing.assert_close(plain(IMAGES), grafted(IMAGES))
    kinds = [
        [getattr(hook, "__name__", "seed") for hook in module._forward_hooks.values()]
        for module in (grafted.get_submodule(site), plain.get_submodule(site))
    ]
    assert kinds[0] == kinds[1]
    assert kinds[0].count("seed") == 1


def test_a_hook_on_a_container_is_kept():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()))
    model[0].register_forward_hook(double)
    grafted = grown(model, "0")
    grafted[0].register_forward_hook(shift)
    torch.testing.assert_close(harvest(grafted)(IMAGES), grafted(IMAGES))


class Depends(nn.Module):
    """Answers differently where a module has more children than it was written with."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Conv2d(3, 4, 1)

    def forward(self, inputs):
        return self.block(inputs) + 0.01 * len(self.block._modules)


@pytest.mark.parametrize("seen", [True, False])
def test_a_harvest_that_differs_is_refused_with_the_difference(seen):
    grafted = grown(Depends(), "block")
    if not seen:
        grafted = copy.deepcopy(grafted)
    given = {} if seen else {"example_inputs": IMAGES}
    with pytest.raises(KasminaError, match=r"harvest differs from .* by 0\.01, where the largest"):
        harvest(grafted, **given)
    assert isinstance(harvest(grafted, verify=False), Depends)


def test_a_harvest_without_known_inputs_asks_for_example_inputs():
    grafted = copy.deepcopy(grown(Net()))
    with pytest.raises(KasminaError, match="give example_inputs, or set verify=False"):
        harvest(grafted)
    harvest(grafted, example_inputs=IMAGES)
    grafted(IMAGES, scale=2.0)
    harvest(grafted)


def test_comparing_changes_neither_model_nor_random_state():
    model = Net()
    seen: list[str] = []
    model.norm.register_forward_hook(lambda *_: seen.append("hook"))
    model.register_forward_pre_hook(lambda *_: seen.append("pre"))
    grafted = grown(model).train()
    grafted.model.drop.eval()
    grafted(IMAGES)
    before, passes, calls = copy.deepcopy(grafted.state_dict()), model.passes, len(seen)
    modes = [module.training for module in grafted.modules()]
    generator = torch.get_rng_state()
    plain = harvest(grafted)
    assert torch.equal(torch.get_rng_state(), generator)
    assert len(seen) == calls
    assert (model.passes, plain.passes) == (passes, passes)
    assert [module.training for module in grafted.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in grafted.state_dict().items())
    assert torch.equal(plain.count, model.count)
    assert plain.training
    assert not plain.drop.training


def test_a_model_that_needs_its_hooks_is_compared_with_them():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    model[0].register_forward_pre_hook(lambda _, inputs: (inputs[0][:, :3],))
    inputs = torch.randn(4, 5, 8, 8)
    grafted = grown_vectors(model, inputs)
    torch.testing.assert_close(harvest(grafted)(inputs), grafted(inputs))


def grown_vectors(model, inputs):
    grafted = graft(model, {"r0c0": "1"}, example_inputs=inputs)
    raise_seed(grafted, "r0c0", SeedStage.FOSSILIZED, Blueprint.LORA, inputs)
    return grafted.eval()


class Doubled(CNNHost):
    """A host whose forward pass is not its blocks one after another."""

    def forward(self, inputs, alpha=None):
        return 2.0 * super().forward(inputs, alpha)


def test_hosts_are_compared_on_made_inputs():
    spec = CNNHostSpec(input_shape=(3, 8, 8), classes=3, widths=(8, 8), pools=(True, False))
    host = build_host(spec, HostOptions(slots=spec.slots, rng_seed=1))
    raise_seed(host, "r0c0", SeedStage.FOSSILIZED, Blueprint.NORM, IMAGES)
    harvest(host)
    host.__class__ = Doubled
    with pytest.raises(KasminaError, match="the harvest differs"):
        harvest(host)


def test_the_last_inputs_are_stored_with_a_seed_and_not_copied():
    grafted = graft(Net(), {"r0c0": "norm"}, example_inputs=IMAGES)
    grafted(IMAGES)
    assert grafted.last_inputs is None
    grafted = grown(Net())
    inputs = IMAGES.clone().requires_grad_()
    grafted.model(inputs, scale=3.0)
    (kept,), options = grafted.last_inputs
    assert kept.data_ptr() == inputs.data_ptr()
    assert not kept.requires_grad
    assert options == {"scale": 3.0}
    assert copy.deepcopy(grafted).last_inputs is None


def fused_by_graph(model: nn.Module) -> nn.Module:
    return fuse_graph(model)


def fused_by_name(model: nn.Module) -> nn.Module:
    norm = "norm.module" if hasattr(model.norm, "module") else "norm"
    return fuse_modules(model, ["conv", norm], inplace=True)


CHANGES = [fused_by_graph, fused_by_name, nn.SyncBatchNorm.convert_sync_batchnorm]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("site", ["norm", "conv", "drop"])
def test_seeds_stay_when_tools_replace_layers(change, site):
    if change is fused_by_name and site == "conv":
        pytest.skip("the seed runs between the two")
    plain = harvest(grown(Net(), site))
    after = change(copy.deepcopy(plain))
    torch.testing.assert_close(after(IMAGES), plain(IMAGES), rtol=1e-4, atol=1e-5)
    assert any("scale" in key for key in after.state_dict())


def test_quantized_harvests_keep_their_seeds():
    grafted = grown(Net(), "norm")
    at_head = graft(Net(), {"r0c0": "head"}, example_inputs=IMAGES)
    raise_seed(at_head, "r0c0", SeedStage.FOSSILIZED, Blueprint.LORA, IMAGES)
    for model in (grafted, at_head.eval()):
        plain = harvest(model)
        quantized = quantize_dynamic(plain, {nn.Linear}, dtype=torch.qint8)
        torch.testing.assert_close(quantized(IMAGES), plain(IMAGES), rtol=0.1, atol=0.05)
