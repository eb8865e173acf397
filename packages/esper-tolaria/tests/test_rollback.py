"""Each cause for the governor to step in, provoked in a real host."""

from __future__ import annotations

import math

import pytest
import torch

from esper_kasmina import build_host
from esper_leyline import (
    Blueprint,
    EpisodeEnd,
    FactoredAction,
    GovernorCause,
    Op,
    SeedEventKind,
    SeedStage,
)

WAIT = FactoredAction()
GERMINATE = FactoredAction(op=Op.GERMINATE, slot=1, blueprint=Blueprint.CONV_SMALL)
ADVANCE = FactoredAction(op=Op.ADVANCE, slot=1)


@pytest.fixture
def trained(make_local, task):
    """Two hosts after five epochs; both have learned, the first has a young seed."""
    brisk = task.training.model_copy(update={"learning_rate": 0.03}).model_dump()
    environment = make_local(n_envs=2, host=brisk, governor={"snapshot_every": 2})
    environment.reset([1, 2])
    for action in (WAIT, WAIT, GERMINATE, ADVANCE, WAIT):
        reports = environment.step([action, WAIT])
    assert max(report.val_loss for report in reports) < 0.8 * math.log(10)
    return environment


def host_of(environment, index):
    return environment._episodes[index]._host


def set_learning_rate(environment, index, rate):
    """Of a host and its seeds; hosts that are computed together share the host's."""
    optimizers = [environment._episodes[index].trainer._optimizer]
    if environment._stacked is not None:
        optimizers.append(environment._stacked._optimizer)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def check_rolled_back(environment, report, cause):
    assert report.ended is EpisodeEnd.GOVERNOR
    assert report.rollback.cause is cause
    assert report.rollback.restored_epoch == 4
    assert report.action is ADVANCE
    assert [seed.stage for seed in report.seeds].count(SeedStage.PRUNED) == 1
    assert report.live_parameters == 0
    pruned = [event for event in report.events if event.kind is SeedEventKind.PRUNED]
    assert [event.slot for event in pruned] == ["r0c1"]
    assert report.wasted_epoch_parameters == pruned[0].parameters * pruned[0].age > 0
    host = host_of(environment, 0)
    assert all(torch.isfinite(parameter).all() for parameter in host.parameters())
    judged = environment.evaluate()[0]
    assert judged.test_accuracy > 15
    assert environment.step([WAIT, WAIT])[0] is report


def test_a_poisoned_weight_is_rolled_back_and_the_neighbour_goes_on(trained):
    with torch.no_grad():
        host_of(trained, 0).blocks[0].convolution.weight[0] = math.nan
    first, second = trained.step([ADVANCE, WAIT])
    assert math.isnan(first.val_loss)
    assert first.rollback.threshold is None
    assert second.ended is None
    check_rolled_back(trained, first, GovernorCause.NON_FINITE)
    assert trained.step([WAIT, WAIT])[1].epoch > second.epoch


def test_a_poisoned_seed_is_noticed_although_its_host_does_not_feel_it(trained):
    with torch.no_grad():
        next(iter(host_of(trained, 0).parameter_groups()["r0c1"])).fill_(math.nan)
    report = trained.step([WAIT, WAIT])[0]
    assert math.isfinite(report.val_loss)
    assert report.rollback.loss == report.val_loss
    assert report.rollback.cause is GovernorCause.NON_FINITE


def test_a_dead_network_is_a_return_to_chance(trained):
    with torch.no_grad():
        for block in host_of(trained, 0).blocks:
            block.norm.weight.zero_()
            block.norm.bias.fill_(-5.0)
        host_of(trained, 0).classifier.bias.zero_()
    report = trained.step([ADVANCE, WAIT])[0]
    assert report.rollback.loss == report.val_loss == pytest.approx(math.log(10), rel=0.065)
    assert report.rollback.threshold == pytest.approx(0.935 * math.log(10))
    check_rolled_back(trained, report, GovernorCause.RETURN_TO_CHANCE)


def test_an_exploding_learning_rate_diverges_in_three_epochs(trained):
    set_learning_rate(trained, 0, 30.0)
    reports = [trained.step([ADVANCE, WAIT])[0] for _ in range(3)]
    assert [report.ended for report in reports] == [None, None, EpisodeEnd.GOVERNOR]
    assert all(report.val_loss > 12 for report in reports)
    assert reports[-1].rollback.threshold == 12.0
    assert reports[-1].rollback.cause is GovernorCause.DIVERGENCE


def test_the_last_good_snapshot_is_put_back_bit_for_bit(make_local):
    environment = make_local(n_envs=1, governor={"snapshot_every": 2})
    environment.reset([7])
    for _ in range(2):
        environment.step([WAIT])
    good = {name: value.clone() for name, value in host_of(environment, 0).state_dict().items()}
    environment.step([WAIT])
    with torch.no_grad():
        host_of(environment, 0).classifier.bias[3] = math.inf
    (report,) = environment.step([WAIT])
    assert report.rollback.restored_epoch == 2
    restored = host_of(environment, 0).state_dict()
    assert all(torch.equal(good[name], restored[name]) for name in good)


def test_before_the_first_snapshot_the_newborn_host_comes_back(make_local, task):
    environment = make_local(n_envs=1)
    environment.reset([7])
    with torch.no_grad():
        host_of(environment, 0).classifier.bias[0] = math.nan
    (report,) = environment.step([WAIT])
    assert report.rollback.restored_epoch == 0
    rules = environment._setup.config.lifecycle
    newborn = build_host(task.host, slots=task.slots, rules=rules, max_seeds=None, seed=7)
    restored = host_of(environment, 0).state_dict()
    assert all(torch.equal(value, restored[name]) for name, value in newborn.state_dict().items())


def test_an_undone_fossil_counts_as_wasted(make_local, growth):
    environment = make_local(n_envs=1, governor={"snapshot_every": 9})
    environment.reset([5])
    for action in growth[:10]:
        (report,) = environment.step([action])
    assert report.seeds[0].stage is SeedStage.FOSSILIZED
    fossil = report.fossil_parameters
    with torch.no_grad():
        host_of(environment, 0).classifier.bias[0] = math.nan
    (report,) = environment.step([WAIT])
    assert report.rollback.restored_epoch == 9
    assert report.fossil_parameters == report.live_parameters == 0
    pruned = {e.slot: e for e in report.events if e.kind is SeedEventKind.PRUNED}
    assert set(pruned) == {"r0c0", "r0c2"}
    assert pruned["r0c0"].parameters == fossil
    total = sum(event.parameters * event.age for event in pruned.values())
    assert report.wasted_epoch_parameters == total


def test_ordinary_growing_is_left_alone(make_local, play, growth, random_script):
    scripts = [growth, *(random_script(seed, len(growth)) for seed in (10, 11, 12))]
    steps = play(make_local(n_envs=4), [21, 22, 23, 24], scripts)
    assert all(report.rollback is None for step in steps for report in step)
