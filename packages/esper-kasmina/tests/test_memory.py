"""Removed seeds leave no tensor, no optimizer state, no event and no memory."""

from __future__ import annotations

import gc
import os
from itertools import product
from pathlib import Path

import pytest
import torch

from esper_kasmina import BLUEPRINTS
from esper_kasmina.slots.record import MAX_UNREAD_EVENTS
from esper_leyline import Advance, BlendStyle, CNNHostSpec, Germinate, Prune, SeedStage

MEMORY = Path("/proc/self/statm")


@pytest.fixture(autouse=True)
def only_ours():
    """Ignores tensors of earlier tests, whose caches may free them at any moment."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def cycle(order, batch, objective):
    """Germinates, trains for a step and prunes again, over all blueprints and styles."""

    def run(host, optimizer, count):
        seeds = list(product(sorted(BLUEPRINTS[host.spec.topology]), BlendStyle))
        inputs, labels = batch(host.spec, 4)
        for number in range(count):
            blueprint, style = seeds[number % len(seeds)]
            order(host, "r0c1", Germinate(blueprint=blueprint, style=style))
            order(host, "r0c1", Advance())
            host.sync_optimizer(optimizer)
            optimizer.zero_grad()
            objective(host(inputs), labels).backward()
            optimizer.step()
            host.record_gradients()
            host.record_validation(50.0, [])
            host.tick()
            order(host, "r0c1", Prune())
            for _ in range(3):
                host.tick()
            assert host.slot("r0c1").stage is SeedStage.DORMANT
        host.sync_optimizer(optimizer)

    return run


def living(optimizer) -> dict[str, int]:
    """Counts what could pile up since the test began."""
    gc.collect()
    return {
        "tensors": sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()),
        "states": len(optimizer.state),
        "groups": len(optimizer.param_groups),
        "parameters": sum(len(group["params"]) for group in optimizer.param_groups),
    }


def resident() -> int:
    """Bytes of memory in use."""
    return int(MEMORY.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("name", ["signal", "vector", "text"])
def test_a_hundred_seeds_leave_no_tensors(specs, name, make_host, cycle):
    host = make_host(specs[name], min_prune_age=0, embargo_ticks=1)
    optimizer = torch.optim.SGD(host.parameters(), lr=0.01, momentum=0.9)
    cycle(host, optimizer, 2)
    before = living(optimizer)
    cycle(host, optimizer, 100)
    assert living(optimizer) == before


@pytest.mark.slow
@pytest.mark.skipif(not MEMORY.exists(), reason="reads how much memory is used from /proc")
def test_a_thousand_seeds_take_no_memory(make_host, cycle):
    """With gradients and momenta each takes about 100 kB; leaked, they would be seen."""
    spec = CNNHostSpec(
        input_shape=(1, 24), classes=5, widths=(64, 64), kernel=1, pools=(True, False)
    )
    host = make_host(spec, min_prune_age=0, embargo_ticks=1)
    optimizer = torch.optim.AdamW(host.parameters(), lr=0.01)
    cycle(host, optimizer, 100)
    before, used = living(optimizer), resident()
    cycle(host, optimizer, 1000)
    assert living(optimizer) == before
    assert resident() - used < 16 * 2**20


def test_tensors_of_earlier_tests_are_not_counted():
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(3)]
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    counted = living(optimizer)["tensors"]
    gc.freeze()
    assert living(optimizer)["tensors"] == 0 < counted


def test_the_number_of_unread_events_is_limited(make_host, cycle):
    host = make_host(min_prune_age=0, embargo_ticks=1)
    optimizer = torch.optim.SGD(host.parameters(), lr=0.01)
    cycle(host, optimizer, 200)
    kept = host.take_events()
    assert len(kept) == MAX_UNREAD_EVENTS
    assert kept[-1].target is SeedStage.DORMANT
