"""Grafted models under torch.compile: equal to eager, and compiled once for each topology."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from esper_kasmina import graft, harvest
from esper_leyline import Advance, Blueprint, Germinate, SeedStage

from .lifecycle_helpers import epoch, give, raise_seed
from .sample_models import SAMPLE_MODELS, tiered

pytestmark = [
    pytest.mark.slow,
    # Torch's own compiler warns of its own deprecations.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


def compilations() -> int:
    return counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("name", tiered())
def test_a_seed_goes_through_all_stages_in_a_compiled_model(name):
    torch._dynamo.reset()
    counters.clear()
    sample, inputs = SAMPLE_MODELS[name], SAMPLE_MODELS[name].inputs()
    host = graft(sample.make(), {"r0c0": sample.sites["r0c0"]}, example_inputs=inputs)
    compiled = torch.compile(host, backend="aot_eager")

    def agree() -> None:
        host.eval()
        torch.testing.assert_close(compiled(inputs), host(inputs), rtol=1e-4, atol=1e-5)
        host.zero_grad()
        host(inputs).square().mean().backward()
        eager = [p.grad.clone() for p in host.parameters() if p.grad is not None]
        host.zero_grad()
        compiled(inputs).square().mean().backward()
        again = [p.grad for p in host.parameters() if p.grad is not None]
        for one, other in zip(eager, again, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)

    def settled() -> None:
        """The next pass compiles at most once; the ones after it nothing."""
        agree()
        before = compilations()
        for _ in range(3):
            agree()
        assert compilations() == before

    settled()
    give(host, "r0c0", Germinate(blueprint=sample.blueprint, tempo=8))
    torch.nn.init.constant_(host.slot("r0c0").seed.scale, 0.3)
    give(host, "r0c0", Advance())
    settled()
    epoch(host, inputs)
    give(host, "r0c0", Advance())
    host.tick()
    settled()
    before = compilations()
    while host.slot("r0c0").alpha < 1.0:
        host.tick()
        agree()
    give(host, "r0c0", Advance())
    agree()
    assert host.slot("r0c0").stage is SeedStage.HOLDING
    assert compilations() == before


@pytest.mark.parametrize("how", ["torch.compile", "Module.compile", "a part"])
def test_a_compiled_model_that_has_run_can_be_grafted(how):
    torch.manual_seed(0)
    inputs = torch.randn(6, 4)
    net = nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.Linear(8, 2))
    model = net
    if how == "torch.compile":
        model = torch.compile(net, backend="eager")
    elif how == "Module.compile":
        net.compile(backend="eager")
    else:
        net[0].compile(backend="eager")
    model(inputs)
    model.eval()(inputs)
    grafted = graft(model.train(), {"r0c0": "0.0"}, example_inputs=inputs)
    raise_seed(grafted, "r0c0", SeedStage.FOSSILIZED, Blueprint.MLP, inputs)
    grown = grafted.eval()(inputs)
    plain = harvest(grafted, example_inputs=inputs)
    torch.testing.assert_close(plain(inputs), grown)
    with grafted.slot("r0c0").held_out():
        torch.compiler.reset()
        assert not torch.allclose(grafted(inputs), grown)
