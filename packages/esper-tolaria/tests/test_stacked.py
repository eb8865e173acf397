"""Hosts that are computed together go the way they would go with anybody else."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from esper_leyline import Blueprint, EpisodeEnd, FactoredAction, Op

WAIT = FactoredAction()
GERMINATE = FactoredAction(op=Op.GERMINATE, slot=1, blueprint=Blueprint.CONV_LIGHT)
ADVANCE = FactoredAction(op=Op.ADVANCE, slot=1)
STORY = (WAIT, GERMINATE, ADVANCE, WAIT, ADVANCE, WAIT, WAIT, WAIT)


def live(environment, seeds, story=STORY):
    """Plays a story in every host; returns the reports without what differs by place."""
    environment.reset(seeds)
    played = [environment.step([action] * len(seeds)) for action in story]
    return [
        [replace(reports[index], environment=0, seconds={}) for reports in played]
        for index in range(len(seeds))
    ]


def apart(environment):
    """Takes an environment out of the stack, each host trained alone."""
    environment.reset = _never_stacked(environment, environment.reset)
    return environment


def _never_stacked(environment, reset):
    def start(seeds):
        reports = reset(seeds)
        environment._stacked = None
        return reports

    return start


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_host_does_not_depend_on_the_other_hosts(make_local, task, optimizer, count):
    host = task.training.model_copy(update={"optimizer": optimizer}).model_dump()
    many = make_local(n_envs=6, host=host)
    few = make_local(n_envs=count, host=host)
    expected = live(many, list(range(6)))
    assert many._stacked is not None
    assert live(few, list(range(count))) == expected[:count]
    for index in range(count):
        one, other = (each._episodes[index]._host.state_dict() for each in (few, many))
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_stacked_and_single_hosts_agree_to_rounding(make_local, task, optimizer):
    host = task.training.model_copy(
        update={"optimizer": optimizer, "learning_rate": 0.001, "max_batches": 4}
    ).model_dump()
    together = live(make_local(n_envs=2, host=host), [1, 2], (WAIT, GERMINATE, ADVANCE, WAIT))
    alone = live(apart(make_local(n_envs=2, host=host)), [1, 2], (WAIT, GERMINATE, ADVANCE, WAIT))
    for one, other in zip(together, alone, strict=True):
        for first, second in zip(one, other, strict=True):
            assert first.train_loss == pytest.approx(second.train_loss, rel=1e-3)
            assert first.val_loss == pytest.approx(second.val_loss, rel=5e-3)
            assert [s.stage for s in first.seeds] == [s.stage for s in second.seeds]


def test_a_host_that_ends_early_does_not_change_the_others(make_local):
    """The optimiser's state of those that are left goes on with them."""
    disturbed, calm = make_local(n_envs=3), make_local(n_envs=3)
    for environment in (disturbed, calm):
        environment.reset([1, 2, 3])
        environment.step([WAIT] * 3)
    with torch.no_grad():
        disturbed._episodes[1]._host.classifier.bias[0] = math.nan
    for _ in range(3):
        reports, undisturbed = (each.step([WAIT] * 3) for each in (disturbed, calm))
    assert reports[1].ended is EpisodeEnd.GOVERNOR
    assert len(disturbed._stacked.trainers) == 2
    for index in (0, 2):
        assert replace(reports[index], seconds={}) == replace(undisturbed[index], seconds={})


def test_gradients_are_recorded_for_each_host(make_local):
    environment = make_local(n_envs=2)
    environment.reset([1, 2])
    for action in STORY[:4]:
        reports = environment.step([action, WAIT])
    assert reports[0].seeds[1].gradient_norm > 0
    assert reports[1].seeds[1].gradient_norm is None
    for episode in environment._episodes:
        assert all(p.grad is None for p in episode._host.parameter_groups()["host"])


def seeds_of(environment):
    hosts = (episode._host for episode in environment._episodes)
    return [
        torch.cat([each.detach().flatten() for each in host.slot("r0c1").seed.parameters()])
        for host in hosts
    ]


@pytest.mark.parametrize("limit", [0.001, 0.002])
def test_seeds_are_clipped_to_their_own_norm(make_local, task, limit):
    changes = {
        "optimizer": "sgd",
        "momentum": 0.0,
        "weight_decay": 0.0,
        "learning_rate": 0.01,
        "seed_learning_rate": 1.0,
        "seed_max_grad_norm": limit,
        "max_batches": 1,
    }
    environment = make_local(n_envs=3, host=task.training.model_copy(update=changes).model_dump())
    environment.reset([1, 2, 3])
    environment.step([GERMINATE] * 3)
    before = seeds_of(environment)
    environment.step([ADVANCE] * 3)
    assert environment._stacked is not None
    for one, other in zip(before, seeds_of(environment), strict=True):
        assert (other - one).norm().item() == pytest.approx(limit, rel=1e-3)


def test_one_host_alone_equals_the_same_host_among_sixteen(make_local, task):
    """With seeds clipped apart and every comparison asked for, to the last bit."""
    changes = {"seed_max_grad_norm": 0.05, "max_batches": 3}
    options = {
        "host": task.training.model_copy(update=changes).model_dump(),
        "max_epochs": len(STORY),
        "counterfactuals": {"solo": True, "committed": True, "shapley": True},
    }
    expected = live(make_local(n_envs=16, **options), list(range(16)))
    assert expected[0][-1].shapley is not None
    for seed in (0, 7, 15):
        assert live(make_local(n_envs=1, **options), [seed]) == [expected[seed]]
