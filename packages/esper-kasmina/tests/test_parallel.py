"""Seeds whose gradients would not be averaged over ranks are refused."""

from __future__ import annotations

import pytest
import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from esper_kasmina import (
    ActivationSpec,
    KasminaError,
    SeedSlot,
    graft,
    grow,
    seed_slots,
    sync_optimizer,
)
from esper_leyline import Advance, Blueprint, Germinate, SeedStage

from .lifecycle_helpers import raise_seed

INPUTS = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _one_rank(tmp_path):
    method = f"file://{tmp_path}/store"
    distributed.init_process_group("gloo", init_method=method, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def grafted():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    return graft(layers, {"r0c0": "0"}, example_inputs=INPUTS)


def own():
    """A model with a slot in its own code."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), SeedSlot("r0c0", ActivationSpec.features(8)))


def germinate(model):
    (slot,) = seed_slots(model)
    for command in (Germinate(blueprint=Blueprint.LORA), Advance()):
        assert slot.apply_command(command).accepted
    return slot


@pytest.mark.parametrize("make", [grafted, own])
def test_a_seed_that_germinated_after_the_model_was_wrapped_is_refused(make):
    model = make()
    wrapped = DistributedDataParallel(model)
    wrapped(INPUTS).sum().backward()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    slot = germinate(model)
    for use in (
        lambda: wrapped(INPUTS),
        lambda: sync_optimizer(optimizer, wrapped),
    ):
        with pytest.raises(KasminaError, match="slot 'r0c0' holds a seed that germinated after"):
            use()
    wrapped.eval()(INPUTS)
    model.train()(INPUTS)  # without the wrapper there is nothing to reduce
    again = DistributedDataParallel(model)
    sync_optimizer(optimizer, again)
    again(INPUTS).sum().backward()
    assert slot.seed.scale.grad is not None


def test_a_frozen_seed_needs_no_reduction():
    model = grafted()
    wrapped = DistributedDataParallel(model)
    raise_seed(model, "r0c0", SeedStage.HOLDING, Blueprint.LORA, INPUTS)
    model.slot("r0c0").seed.freeze()
    wrapped(INPUTS).sum().backward()


def test_grow_takes_the_model_in_the_wrapper():
    model = grafted()
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(KasminaError, match="is wrapped in DistributedDataParallel"):
        grow(wrapped, "r0c0", Blueprint.LORA, optimizer, lambda model: None, lambda model: 0.0)
    assert model.slot("r0c0").stage is SeedStage.DORMANT


def test_slots_without_their_sharded_model_are_refused():
    model = grafted()
    mesh = distributed.device_mesh.init_device_mesh("cpu", (1,))
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    slot = germinate(model)
    with pytest.raises(KasminaError, match=r"'r0c0' is not sharded, .* give sync_optimizer"):
        sync_optimizer(optimizer, [slot])
    sync_optimizer(optimizer, model)
    sync_optimizer(optimizer, [slot])
    assert hasattr(slot.seed.scale, "device_mesh")
