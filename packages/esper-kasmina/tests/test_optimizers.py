"""Growth does not change the optimizer state of other parameters."""

from __future__ import annotations

import copy

import pytest
import torch

from esper_kasmina import SLOT_KEY, ActivationSpec, KasminaError, SeedSlot, sync_optimizer
from esper_leyline import Advance, Blueprint, Germinate, Prune, SeedStage

MAKERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "sgd_foreach": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, foreach=True),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "adamw_foreach": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, foreach=True),
    "adamw_fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, fused=True),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01),
}


@pytest.fixture(params=list(MAKERS))
def make_optimizer(request):
    return MAKERS[request.param]


def state_of(optimizer, parameters):
    return copy.deepcopy([optimizer.state[p] for p in parameters])


def same(first, second) -> bool:
    flat = [
        [torch.as_tensor(v) for state in group for v in state.values()] for group in (first, second)
    ]
    return all(torch.equal(one, other) for one, other in zip(*flat, strict=True))


def test_adding_and_removing_a_seed_does_not_change_other_groups(
    make_host, make_optimizer, grow, order, train
):
    host = make_host(min_prune_age=0)
    own = host.parameter_groups()["host"]
    optimizer = make_optimizer(own)
    train(host, optimizer=optimizer)
    before = state_of(optimizer, own)
    groups = len(optimizer.param_groups)

    grow(host, "r0c1", SeedStage.TRAINING)
    host.sync_optimizer(optimizer, {"lr": 0.001})
    assert same(before, state_of(optimizer, own))
    new_group = optimizer.param_groups[-1]
    assert (new_group[SLOT_KEY], new_group["lr"]) == ("r0c1", 0.001)
    scale = host.slot("r0c1").seed.scale
    value = scale.item()
    train(host, optimizer=optimizer)
    assert scale.item() != value

    before = state_of(optimizer, own)
    order(host, "r0c1", Prune())
    host.sync_optimizer(optimizer)
    assert len(optimizer.param_groups) == groups
    assert set(optimizer.state) == set(own)
    assert same(before, state_of(optimizer, own))
    train(host, optimizer=optimizer)


def test_a_host_trains_the_same_after_a_seed_was_pruned(
    make_host, make_optimizer, grow, order, train
):
    host, bare = make_host(min_prune_age=0), make_host()
    optimizers = [make_optimizer(model.parameters()) for model in (host, bare)]
    for step in range(4):
        if step == 1:
            grow(host, "r0c0", SeedStage.TRAINING)
        if step == 3:
            order(host, "r0c0", Prune())
        host.sync_optimizer(optimizers[0])
        train(host, optimizer=optimizers[0])
        train(bare, optimizer=optimizers[1])
    pairs = zip(host.parameter_groups()["host"], bare.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_second_seed_in_a_slot_gets_a_new_group(make_host, make_optimizer, grow, train):
    host = make_host(min_prune_age=0, embargo_ticks=1)
    optimizer = make_optimizer(host.parameters())
    grow(host, "r0c0", SeedStage.TRAINING)
    host.sync_optimizer(optimizer)
    train(host, optimizer=optimizer)
    host.prune_live()
    for _ in range(3):
        host.tick()
    # The optimiser missed the whole removal and sees the next seed at once.
    grow(host, "r0c0", SeedStage.TRAINING, Blueprint.CONV_SMALL)
    host.sync_optimizer(optimizer)
    assert [group.get(SLOT_KEY) for group in optimizer.param_groups] == [None, "r0c0"]
    fresh = list(host.slot("r0c0").seed.parameters())
    assert [id(p) for p in optimizer.param_groups[1]["params"]] == [id(p) for p in fresh]
    assert not any(p in optimizer.state for p in fresh)


def test_syncing_twice_changes_nothing(make_host, make_optimizer, grow):
    host = make_host()
    optimizer = make_optimizer(host.parameters())
    grow(host, "r0c0", SeedStage.GERMINATED)
    host.sync_optimizer(optimizer)
    first = [(group.get(SLOT_KEY), len(group["params"])) for group in optimizer.param_groups]
    host.sync_optimizer(optimizer)
    assert first == [(g.get(SLOT_KEY), len(g["params"])) for g in optimizer.param_groups]


def test_seeds_known_from_the_start_move_to_their_own_group(make_host, grow, train):
    host = make_host(min_prune_age=0)
    grow(host, "r0c0", SeedStage.TRAINING)
    optimizer = torch.optim.SGD(host.parameters(), lr=0.05, momentum=0.9)
    train(host, optimizer=optimizer)
    scale = host.slot("r0c0").seed.scale
    momentum = optimizer.state[scale]["momentum_buffer"].clone()
    host.sync_optimizer(optimizer)
    assert [group.get(SLOT_KEY) for group in optimizer.param_groups] == [None, "r0c0"]
    assert optimizer.param_groups[1]["lr"] == 0.05
    assert torch.equal(optimizer.state[scale]["momentum_buffer"], momentum)
    host.prune_live()
    host.sync_optimizer(optimizer)
    assert scale not in optimizer.state


def test_groups_of_other_models_do_not_change(slot):
    other = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([{"params": [other], "lr": 0.3}], lr=0.1)
    slot.apply_command(Germinate(blueprint=Blueprint.NORM))
    slot.apply_command(Advance())
    sync_optimizer(optimizer, [slot])
    slot.prune_now()
    sync_optimizer(optimizer, [slot])
    assert [group["params"] for group in optimizer.param_groups] == [[other]]
    assert optimizer.param_groups[0]["lr"] == 0.3


def test_a_state_dict_of_an_optimizer_with_seeds_is_loaded(make_host, grow, train):
    host = make_host()
    grow(host, "r0c0", SeedStage.TRAINING)
    optimizer = torch.optim.AdamW(host.parameter_groups()["host"], lr=0.01)
    host.sync_optimizer(optimizer)
    train(host, optimizer=optimizer)
    saved = copy.deepcopy(optimizer.state_dict())
    train(host, optimizer=optimizer)
    optimizer.load_state_dict(saved)
    host.sync_optimizer(optimizer)
    assert [group.get(SLOT_KEY) for group in optimizer.param_groups] == [None, "r0c0"]


def test_slots_of_any_model_can_share_one_optimizer():
    model = torch.nn.ModuleDict(
        {
            "a": SeedSlot("r0c0", ActivationSpec.maps(4)),
            "b": SeedSlot("r0c1", ActivationSpec.maps(4)),
        }
    )
    stem = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([stem], lr=0.1)
    for slot in model.values():
        slot.apply_command(Germinate(blueprint=Blueprint.NORM))
    sync_optimizer(optimizer, model.values())
    assert [group.get(SLOT_KEY) for group in optimizer.param_groups] == [None, "r0c0", "r0c1"]


def test_arguments_in_the_wrong_order_are_refused():
    slot = SeedSlot("r0c0", ActivationSpec.features(4))
    optimizer = torch.optim.SGD(torch.nn.Linear(4, 4).parameters(), lr=0.1)
    with pytest.raises(KasminaError, match=r"the optimizer is a SeedSlot; .*comes first"):
        sync_optimizer(slot, optimizer)
    with pytest.raises(KasminaError, match=r"seed_options are 0.1; give .*\{'lr': 0.01\}"):
        sync_optimizer(optimizer, slot, 0.1)


def test_options_that_the_optimizer_does_not_know_are_refused():
    slot = SeedSlot("r0c0", ActivationSpec.features(4))
    slot.apply_command(Germinate(blueprint=Blueprint.NORM))
    group = {"params": torch.nn.Linear(4, 4).parameters(), "scale": 1.0}
    optimizer = torch.optim.SGD([group], lr=0.1)
    with pytest.raises(KasminaError, match=r"'momentun'.*did you mean 'momentum'") as caught:
        sync_optimizer(optimizer, [slot], {"momentun": 0.9})
    assert "\n" not in str(caught.value)
    for name in optimizer.defaults:
        assert name in str(caught.value)
    for mine in ("params", SLOT_KEY):
        with pytest.raises(KasminaError, match=f"'{mine}'"):
            sync_optimizer(optimizer, [slot], {mine: []})
    assert len(optimizer.param_groups) == 1
    sync_optimizer(optimizer, [slot], {"momentum": 0.9, "scale": 2.0})
    assert optimizer.param_groups[1]["scale"] == 2.0
    assert optimizer.param_groups[1]["momentum"] == 0.9
