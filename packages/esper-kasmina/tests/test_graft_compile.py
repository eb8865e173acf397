"""Grafts under torch.compile: equal to eager, and compiled once while the topology stands."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters

from esper_kasmina import graft
from esper_leyline import Advance, Germinate, SeedStage

from .lifecycle_helpers import epoch, give
from .sample_models import SAMPLE_MODELS, tiered

pytestmark = [
    pytest.mark.slow,
    # Torch's own compiler warns of its own deprecations.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


def compilations() -> int:
    return counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("name", tiered())
def test_a_seeds_whole_life_under_a_compiler(name):
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
