from __future__ import annotations

import pickle

import pytest
import torch

from esper_kasmina import SLOT_KEY
from esper_leyline import BlendStyle, Blueprint, Germinate, Prune, SeedStage, SetAlphaTarget


@pytest.fixture
def host(make_host, grow, order):
    """A fossilized seed, a seed in training, and one that is being pruned."""
    host = make_host(min_prune_age=0)
    grow(host, "r0c0", SeedStage.FOSSILIZED)
    grow(host, "r0c1", SeedStage.HOLDING)
    order(host, "r0c1", Prune(ticks=8))
    grow(host, "r0c2", SeedStage.TRAINING)
    return host


def everything(host):
    return host.seed_reports(), host.parameter_counts()


def same_tensors(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("stored", [lambda s: s, lambda s: pickle.loads(pickle.dumps(s))])
def test_restore_is_exact_and_repeatable(host, train, stored):
    tensors = {name: value.clone() for name, value in host.state_dict().items()}
    before = everything(host)
    snapshot = stored(host.snapshot())
    for damage in (3, 12):
        optimizer = torch.optim.SGD(host.parameters(), lr=0.5)
        for _ in range(damage):
            train(host, optimizer=optimizer)
        host.prune_live()
        assert everything(host) != before
        host.restore(snapshot)
        assert same_tensors(host.state_dict(), tensors)
        assert everything(host) == before
        assert all(p.grad is None for p in host.parameters())


def test_a_restored_host_trains_the_same_again(host, train, grow):
    def onwards():
        optimizer = torch.optim.SGD(host.parameters(), lr=0.1)
        for _ in range(16):
            train(host, optimizer=optimizer)
        grow(host, "r0c1", SeedStage.TRAINING)
        train(host, optimizer=optimizer)
        return everything(host), host.take_events(), dict(host.state_dict())

    host.take_events()
    snapshot = host.snapshot()
    first = onwards()
    host.restore(snapshot)
    second = onwards()
    assert first[:2] == second[:2]
    assert same_tensors(first[2], second[2])


def test_a_frozen_seed_is_restored_frozen(host, train):
    snapshot = host.snapshot()
    host.prune_live()
    host.restore(snapshot)
    seed = host.slot("r0c1").seed
    assert not any(p.requires_grad for p in seed.parameters())
    assert not host.train().slot("r0c1").seed.training


def test_seeds_that_are_still_in_their_slot_keep_their_parameters(host, train):
    optimizer = torch.optim.SGD(host.parameters(), lr=0.1, momentum=0.9)
    host.sync_optimizer(optimizer)
    groups = [group.get(SLOT_KEY) for group in optimizer.param_groups]
    identities = [id(p) for p in host.parameters()]
    snapshot = host.snapshot()
    train(host, optimizer=optimizer)
    host.restore(snapshot)
    assert [id(p) for p in host.parameters()] == identities
    host.sync_optimizer(optimizer)
    assert [group.get(SLOT_KEY) for group in optimizer.param_groups] == groups


def test_a_snapshot_is_independent_of_its_host(make_host, order, train):
    host = make_host()
    snapshot = host.snapshot()
    kept = {name: value.clone() for name, value in snapshot.tensors.items()}
    order(host, "r0c0", Germinate(blueprint=Blueprint.CONV_LIGHT))
    train(host, optimizer=torch.optim.SGD(host.parameters(), lr=0.5))
    assert same_tensors(snapshot.tensors, kept)
    host.restore(snapshot)
    assert host.slot("r0c0").seed is None
    assert host.take_events() == ()


def test_a_later_seed_of_the_same_kind_is_replaced(specs, make_host, grow):
    """Both kinds of attention have the same parameters, and are different functions."""
    host = make_host(specs["text"])
    fresh = host.snapshot()
    grow(host, "r0c0", SeedStage.TRAINING, Blueprint.FLEX_ATTENTION)
    hidden = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    expected = host.slot("r0c0").seed(hidden)
    kept = host.snapshot()
    host.restore(fresh)
    grow(host, "r0c0", SeedStage.TRAINING, Blueprint.ATTENTION)
    host.restore(kept)
    assert torch.equal(host.slot("r0c0").seed(hidden), expected)


def test_the_revision_changes_only_with_the_trained_parameters(make_host, grow, order, train):
    host = make_host(min_prune_age=0)
    slot = host.slot("r0c0")
    seen = [slot.revision]

    def moved() -> int:
        seen.append(slot.revision)
        return seen[-1] - seen[-2]

    def retarget(style):
        order(host, "r0c0", SetAlphaTarget(style=style, alpha_target=1.0, ticks=0))

    grow(host, "r0c0", SeedStage.GERMINATED)
    assert moved() == 1
    host.prune_live()
    assert moved() == 1
    for _ in range(7):
        host.tick()
    assert moved() == 0
    grow(host, "r0c0", SeedStage.HOLDING)
    assert moved() == 1
    retarget(BlendStyle.LINEAR_MULTIPLY)
    held = host.snapshot()
    train(host)
    host.restore(held)
    host.load_state_dict(host.state_dict())
    assert moved() == 0
    retarget(BlendStyle.GATED_GATE)
    assert moved() == 1
    order(host, "r0c0", Prune(ticks=3))
    assert moved() == 1
    train(host)
    assert moved() == 0
    host.restore(held)
    assert moved() == 1


def test_restoring_an_empty_slot_to_empty_does_not_change_the_revision(make_host):
    host = make_host()
    before = [host.slot(name).revision for name in host.slots]
    host.restore(host.snapshot())
    host.load_state_dict(host.state_dict())
    assert [host.slot(name).revision for name in host.slots] == before
