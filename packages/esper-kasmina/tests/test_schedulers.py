"""Schedulers that were made before a germination work after it, and after a prune."""

from __future__ import annotations

import copy
import gc

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler, swa_utils

from esper_kasmina import (
    SLOT_KEY,
    ActivationSpec,
    KasminaError,
    SeedSlot,
    graft,
    sync_optimizer,
    sync_scheduler,
)
from esper_leyline import Blueprint, Germinate

MAKERS = {
    "constant": lambda o: lr_scheduler.ConstantLR(o, 0.3, total_iters=6),
    "linear": lambda o: lr_scheduler.LinearLR(o, 0.05, total_iters=6),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, total_iters=20, power=2.0),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 12),
    "warm_restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5),
    "step": lambda o: lr_scheduler.StepLR(o, 3),
    "multi_step": lambda o: lr_scheduler.MultiStepLR(o, [2, 5, 7]),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "lambda_warmup": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: min(1.0, epoch / 6)),
    "multiplicative": lambda o: lr_scheduler.MultiplicativeLR(o, lambda _: 0.9),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=4),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "plateau_min": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, min_lr=[0.02]),
    "swa": lambda o: swa_utils.SWALR(o, swa_lr=0.02, anneal_epochs=6),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.CosineAnnealingLR(o, 12)], [4]
    ),
    # Torch itself takes a nested one in the first place only.
    "sequential_nested": lambda o: lr_scheduler.SequentialLR(
        o,
        [
            lr_scheduler.SequentialLR(
                o,
                [
                    lr_scheduler.LinearLR(o, 0.1, total_iters=2),
                    lr_scheduler.ConstantLR(o, 0.5, total_iters=2),
                ],
                [2],
            ),
            lr_scheduler.ExponentialLR(o, 0.9),
        ],
        [6],
    ),
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(o, 0.1, total_iters=6), lr_scheduler.ExponentialLR(o, 0.95)]
    ),
}


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*:UserWarning")
def test_every_scheduler_of_torch_is_tested_here():
    own = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    tried = {type(part).__name__ for maker in MAKERS.values() for part in _parts(maker(own))}
    assert set(lr_scheduler.__all__) - {"LRScheduler"} <= tried


def _parts(scheduler):
    return [
        scheduler,
        *(each for part in getattr(scheduler, "_schedulers", ()) for each in _parts(part)),
    ]


def run(maker, *, germinates=None, pruned=None, options=None, sync=None, steps=14):
    """Returns the host's and the seed's learning rate, step by step."""
    own = nn.Parameter(torch.ones(2))
    slot = SeedSlot("r0c0", ActivationSpec.features(4))
    optimizer = torch.optim.SGD([own], lr=0.1, momentum=0.9)
    scheduler = maker(optimizer)
    host, seed = [], []
    for step in range(steps):
        if step == germinates:
            slot.apply_command(Germinate(blueprint=Blueprint.NORM))
        if step == pruned:
            slot.prune_now()
        sync_optimizer(optimizer, [slot], options)
        if sync is not None:
            sync(scheduler)
        host.append(optimizer.param_groups[0]["lr"])
        seed.append(optimizer.param_groups[1]["lr"] if slot.seed is not None else None)
        own.grad = torch.ones(2)
        optimizer.step()
        plateau = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
        scheduler.step(1.0) if plateau else scheduler.step()
        assert len(scheduler.get_last_lr()) == len(optimizer.param_groups)
    return host, seed


@pytest.mark.filterwarnings("ignore:.*epoch parameter.*:UserWarning")  # SequentialLR's own
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*before:UserWarning")  # and its parts'
@pytest.mark.parametrize("sync", [None, sync_scheduler], ids=["alone", "synced"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_a_seed_follows_its_hosts_schedule_by_its_factor(maker, scale, sync):
    alone, _ = run(maker)
    options = None if scale == 1.0 else {"lr_scale": scale}
    host, seed = run(maker, germinates=3, pruned=9, options=options, sync=sync)
    assert host == pytest.approx(alone)
    assert [rate is not None for rate in seed] == [3 <= step < 9 for step in range(14)]
    for rate, other in zip(seed[3:9], host[3:9], strict=True):
        assert rate == pytest.approx(scale * other)


@pytest.mark.filterwarnings("ignore:.*epoch parameter.*:UserWarning")
@pytest.mark.parametrize("germinates", [0, 2])
@pytest.mark.parametrize(
    ("name", "peak"), [("one_cycle", 0.1), ("linear", 0.1), ("cyclic", 0.1), ("cosine", 0.1)]
)
def test_lr_is_the_rate_at_the_top_of_the_schedule(name, peak, germinates):
    """A rate given during warm-up is not one for that moment; the seed's would peak far above."""
    host, seed = run(MAKERS[name], germinates=germinates, options={"lr": 0.05}, steps=14)
    assert max(host) == pytest.approx(peak, rel=0.05)
    for rate, other in zip(seed[germinates:], host[germinates:], strict=True):
        assert rate == pytest.approx(0.5 * other)


def test_without_a_scheduler_lr_is_used_exactly():
    own, slot = nn.Parameter(torch.ones(2)), SeedSlot("r0c0", ActivationSpec.features(4))
    optimizer = torch.optim.SGD([own], lr=0.3)
    slot.apply_command(Germinate(blueprint=Blueprint.NORM))
    sync_optimizer(optimizer, [slot], {"lr": 0.007})
    assert optimizer.param_groups[1]["lr"] == 0.007
    assert "initial_lr" not in optimizer.param_groups[1]


def test_lr_and_lr_scale_together_are_refused():
    own, slot = nn.Parameter(torch.ones(2)), SeedSlot("r0c0", ActivationSpec.features(4))
    optimizer = torch.optim.SGD([own], lr=0.3)
    slot.apply_command(Germinate(blueprint=Blueprint.NORM))
    with pytest.raises(KasminaError, match=r"lr=0.1 and lr_scale=0.5; give one"):
        sync_optimizer(optimizer, [slot], {"lr": 0.1, "lr_scale": 0.5})
    assert len(optimizer.param_groups) == 1


def host_of_two_groups():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4)), nn.Linear(4, 2)
    )
    places = {"r0c0": "0", "r0c1": "1", "r0c2": "2"}
    grafted = graft(model, places, example_inputs=torch.randn(3, 4))
    slow = [*model[2].parameters()]
    fast = [p for p in model.parameters() if not any(p is s for s in slow)]
    optimizer = torch.optim.AdamW(
        [
            {"params": fast},
            {"params": slow, "lr": 1e-4, "weight_decay": 0.3, "betas": (0.8, 0.95)},
        ],
        lr=1e-3,
    )
    return grafted, optimizer


@pytest.mark.parametrize(("slot", "owner"), [("r0c0", 0), ("r0c1", 0), ("r0c2", 1)])
def test_a_new_seed_takes_the_options_of_its_hosts_group(slot, owner):
    grafted, optimizer = host_of_two_groups()
    grafted.slot(slot).apply_command(Germinate(blueprint=Blueprint.NORM))
    sync_optimizer(optimizer, grafted, {"eps": 1e-5})
    new_group = optimizer.param_groups[-1]
    assert new_group[SLOT_KEY] == slot
    for key in ("lr", "weight_decay", "betas"):
        assert new_group[key] == optimizer.param_groups[owner][key]
    assert new_group["eps"] == 1e-5


def test_a_slot_in_the_models_own_code_takes_the_group_of_the_layer_before_it():
    model = nn.ModuleDict(
        {
            "stem": nn.Linear(4, 4),
            "slot": SeedSlot("r0c0", ActivationSpec.features(4)),
            "head": nn.Linear(4, 90),
        }
    )
    groups = [
        {"params": model["head"].parameters(), "lr": 0.5},
        {"params": [*model["stem"].parameters()]},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    model["slot"].apply_command(Germinate(blueprint=Blueprint.NORM))
    sync_optimizer(optimizer, model)
    assert optimizer.param_groups[2]["lr"] == 0.1


def test_options_of_a_group_are_copied():
    grafted, optimizer = host_of_two_groups()
    optimizer.param_groups[0]["lr"] = torch.tensor(1e-3)
    grafted.slot("r0c0").apply_command(Germinate(blueprint=Blueprint.NORM))
    sync_optimizer(optimizer, grafted)
    optimizer.param_groups[0]["lr"].fill_(1.0)
    assert float(optimizer.param_groups[-1]["lr"]) == pytest.approx(1e-3)


def grown_three():
    """Returns slots and an optimizer of three groups: the host's and two seeds'."""
    own = nn.Parameter(torch.ones(2))
    slots = [SeedSlot(name, ActivationSpec.features(4)) for name in ("r0c0", "r0c1")]
    for slot in slots:
        slot.apply_command(Germinate(blueprint=Blueprint.NORM))
    groups = [{"params": [own]}] + [
        {"params": list(slot.seed.parameters()), SLOT_KEY: slot.name} for slot in slots
    ]
    return slots, torch.optim.SGD(groups, lr=0.1, momentum=0.9)


PER_GROUP = {
    "lambda": lambda o: lr_scheduler.LambdaLR(o, [lambda _, f=f: f for f in (1.0, 0.5, 0.25)]),
    "multiplicative": lambda o: lr_scheduler.MultiplicativeLR(
        o, [lambda _, f=f: f for f in (1.0, 0.5, 0.25)]
    ),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, min_lr=[0.09, 0.05, 0.025]),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(
        o, [0.4, 0.2, 0.1], total_steps=20, base_momentum=[0.8, 0.7, 0.6]
    ),
    "cyclic": lambda o: lr_scheduler.CyclicLR(
        o, [0.1, 0.05, 0.02], [0.4, 0.2, 0.1], step_size_up=4, base_momentum=[0.8, 0.7, 0.6]
    ),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o,
        [
            lr_scheduler.LambdaLR(o, [lambda _, f=f: f for f in (1.0, 0.5, 0.25)]),
            lr_scheduler.LambdaLR(o, [lambda _, f=f: f for f in (0.1, 0.05, 0.025)]),
        ],
        [5],
    ),
}


@pytest.mark.filterwarnings("ignore:.*epoch parameter.*:UserWarning")
@pytest.mark.parametrize("reborn", [False, True])
@pytest.mark.parametrize("maker", PER_GROUP.values(), ids=PER_GROUP)
def test_entries_of_schedulers_stay_with_their_group(maker, reborn):
    def rates(prune):
        slots, optimizer = grown_three()
        scheduler = maker(optimizer)
        last = []
        for step in range(10):
            if prune and step == 3:
                slots[0].prune_now()
                sync_optimizer(optimizer, slots)
            if prune and reborn and step == 3:  # the number of groups is as before
                extra = SeedSlot("r0c5", ActivationSpec.features(4))
                extra.apply_command(Germinate(blueprint=Blueprint.NORM))
                slots.append(extra)
                sync_optimizer(optimizer, slots)
            optimizer.step()
            plateau = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
            scheduler.step(1.0) if plateau else scheduler.step()
            by_slot = {g.get(SLOT_KEY): (g["lr"], g["momentum"]) for g in optimizer.param_groups}
            last.append((by_slot[None], by_slot["r0c1"]))
            if reborn and prune and step >= 3:
                assert by_slot["r0c5"] == by_slot[None]
        return last

    assert rates(prune=True) == rates(prune=False)


def test_a_saved_scheduler_is_not_changed_by_growth():
    slots, optimizer = grown_three()
    scheduler = PER_GROUP["one_cycle"](optimizer)
    saved = scheduler.state_dict()
    before = copy.deepcopy(saved["base_lrs"])
    slots[0].prune_now()
    sync_optimizer(optimizer, slots)
    assert saved["base_lrs"] == before
    assert len(scheduler.base_lrs) == 2


def test_syncing_twice_changes_nothing():
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch)
    sync_scheduler(scheduler)
    sync_scheduler(scheduler)
    assert scheduler.base_lrs == [0.1]
    assert len(scheduler.lr_lambdas) == 1


def test_sync_scheduler_adds_entries_for_groups_that_were_added_by_hand():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": 0.02})
    sync_scheduler(scheduler)
    optimizer.step()
    scheduler.step()
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.05, 0.01])


def test_a_scheduler_that_cannot_be_found_is_asked_for():
    slots, optimizer = grown_three()
    scheduler = PER_GROUP["lambda"](optimizer)
    gc.collect()
    gc.freeze()
    slots[0].prune_now()
    sync_optimizer(optimizer, slots)
    with pytest.raises(KasminaError, match=r"LambdaLR has entries for 3 .* has 2; give it to sync"):
        sync_scheduler(scheduler)


class Wrapper:
    """The shape of ``accelerate``'s and Lightning's wrappers."""

    def __init__(self, **inner: object) -> None:
        vars(self).update(inner)

    def __getattr__(self, name: str) -> object:
        inner = vars(self).get("optimizer") or vars(self).get("scheduler")
        return getattr(inner, name)


def test_wrappers_are_unwrapped_and_a_given_scheduler_needs_no_search():
    slots, optimizer = grown_three()
    scheduler = PER_GROUP["lambda"](optimizer)
    gc.collect()
    gc.freeze()
    slots[0].prune_now()
    sync_optimizer(
        Wrapper(optimizer=Wrapper(optimizer=optimizer)),
        slots,
        scheduler=Wrapper(scheduler=scheduler, optimizers=[optimizer]),
    )
    sync_scheduler(Wrapper(scheduler=scheduler))
    optimizer.step()
    scheduler.step()
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.025]


@pytest.mark.parametrize("given", [3, "cosine", nn.Linear(2, 2)])
def test_an_object_that_is_not_a_scheduler_is_refused(given):
    with pytest.raises(KasminaError, match=f"the scheduler is a {type(given).__name__}"):
        sync_scheduler(given)


def test_names_of_parameters_in_groups_are_kept():
    model = nn.ModuleDict(
        {"stem": nn.Linear(4, 4), "slot": SeedSlot("r0c0", ActivationSpec.features(4))}
    )
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    model["slot"].apply_command(Germinate(blueprint=Blueprint.NORM))
    sync_optimizer(optimizer, model)
    assert optimizer.param_groups[1]["param_names"][0].startswith("r0c0.seed.")
    for group in optimizer.param_groups:
        assert len(group["param_names"]) == len(group["params"])
    model["slot"].prune_now()
    sync_optimizer(optimizer, model)
    assert len(optimizer.param_groups) == 1
