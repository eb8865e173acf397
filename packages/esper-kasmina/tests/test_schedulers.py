"""Schedulers made before a germination go on after it, and after a prune."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler

from esper_kasmina import Activations, SeedSlot, sync_optimizer, sync_scheduler
from esper_leyline import Blueprint, Germinate

MAKERS = {
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 12),
    "warm_restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5),
    "step": lambda o: lr_scheduler.StepLR(o, 3),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "multiplicative": lambda o: lr_scheduler.MultiplicativeLR(o, lambda _: 0.9),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=4),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.CosineAnnealingLR(o, 12)], [4]
    ),
}


def run(maker, *, grows: bool) -> tuple[list[float], list[float]]:
    """Returns the host's and the seed's learning rate, step by step."""
    own = torch.nn.Parameter(torch.ones(2))
    slot = SeedSlot("r0c0", Activations.features(4))
    optimizer = torch.optim.SGD([own], lr=0.1, momentum=0.9)
    scheduler = maker(optimizer)
    host, seed = [], []
    for step in range(12):
        if grows and step == 3:
            slot.apply_command(Germinate(blueprint=Blueprint.NORM))
        if grows and step == 8:
            slot.prune_now()
        half = 0.5 * optimizer.param_groups[0]["lr"]
        sync_optimizer(optimizer, [slot], {"lr": half})
        sync_scheduler(scheduler)
        own.grad = torch.ones(2)
        optimizer.step()
        plateau = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
        scheduler.step(1.0) if plateau else scheduler.step()
        host.append(optimizer.param_groups[0]["lr"])
        seed.append(optimizer.param_groups[1]["lr"] if slot.seed is not None else None)
    assert len(optimizer.param_groups) == 1
    return host, seed


@pytest.mark.filterwarnings("ignore:.*epoch parameter.*:UserWarning")  # SequentialLR's own
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_a_newborn_group_goes_the_same_way(maker):
    alone, _ = run(maker, grows=False)
    host, seed = run(maker, grows=True)
    assert host == pytest.approx(alone)
    assert [rate is not None for rate in seed] == [3 <= step < 8 for step in range(12)]
    for rate, other in zip(seed[3:8], host[3:8], strict=True):
        assert rate == pytest.approx(0.5 * other)


def test_syncing_twice_changes_nothing():
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch)
    sync_scheduler(scheduler)
    sync_scheduler(scheduler)
    assert scheduler.base_lrs == [0.1]
    assert len(scheduler.lr_lambdas) == 1
