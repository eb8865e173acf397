"""Each cause for the governor to step in, provoked in a real host."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from esper_kasmina import build_host
from esper_leyline import (
    Blueprint,
    EpisodeEnd,
    FactoredAction,
    GovernorCause,
    HostOptions,
    Op,
    SeedEventKind,
    SeedStage,
)
from esper_tolaria import LocalEnvironment, Split, load_dataset

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
    """Of a host and its seeds; hosts that are computed together share them."""
    for group in environment._episodes[index].trainer._optimizer.param_groups:
        group["lr"] = rate
    if environment._stacked is not None:
        for optimizer in environment._stacked._optimizers:
            optimizer._options["lr"] = rate


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


def test_a_nan_weight_is_rolled_back_and_the_other_host_continues(trained):
    with torch.no_grad():
        host_of(trained, 0).blocks[0].convolution.weight[0] = math.nan
    first, second = trained.step([ADVANCE, WAIT])
    assert math.isnan(first.val_loss)
    assert first.rollback.threshold is None
    assert second.ended is None
    check_rolled_back(trained, first, GovernorCause.NON_FINITE)
    assert trained.step([WAIT, WAIT])[1].epoch > second.epoch


def test_a_nan_in_a_seed_is_detected_before_it_affects_the_host(trained):
    with torch.no_grad():
        next(iter(host_of(trained, 0).parameter_groups()["r0c1"])).fill_(math.nan)
    report = trained.step([WAIT, WAIT])[0]
    assert math.isfinite(report.val_loss)
    assert report.rollback.loss == report.val_loss
    assert report.rollback.cause is GovernorCause.NON_FINITE


def test_a_network_with_zero_weights_is_a_return_to_chance(trained):
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
    # Epoch 6 was due for a snapshot, but looked like divergence already.
    assert reports[-1].rollback.restored_epoch == 4
    assert trained.evaluate()[0].test_loss < 2.5
    assert reports[-1].rollback.cause is GovernorCause.DIVERGENCE


def poison(host):
    host.classifier.bias[0] = math.nan


def blow_up(host):
    host.classifier.weight *= 1e4


def reset(host):
    for block in host.blocks:
        block.convolution.weight.normal_(generator=torch.Generator().manual_seed(0))
        block.norm.weight.fill_(0.01)
    host.classifier.weight.zero_()
    host.classifier.bias.zero_()


@pytest.mark.parametrize(
    ("harm", "cause", "epochs"),
    [
        (poison, GovernorCause.NON_FINITE, 1),
        (blow_up, GovernorCause.DIVERGENCE, 3),
        (reset, GovernorCause.RETURN_TO_CHANCE, 1),
    ],
)
def test_a_failing_host_does_not_change_the_others(make_local, task, harm, cause, epochs):
    brisk = task.training.model_copy(update={"learning_rate": 0.03}).model_dump()
    struck, calm = (make_local(n_envs=3, host=brisk) for _ in range(2))
    for environment in (struck, calm):
        environment.reset([1, 2, 3])
        for action in (WAIT, WAIT, GERMINATE, ADVANCE, WAIT):
            environment.step([WAIT, action, action])
    with torch.no_grad():
        harm(host_of(struck, 1))
    for epoch in range(1, epochs + 3):
        reports, expected = (each.step([WAIT] * 3) for each in (struck, calm))
        for index in (0, 2):
            assert replace(reports[index], seconds={}) == replace(expected[index], seconds={})
        assert (reports[1].ended is EpisodeEnd.GOVERNOR) == (epoch >= epochs)
    assert reports[1].rollback.cause is cause
    assert reports[1].epoch == 5 + epochs
    for index in (0, 2):
        ours, theirs = (host_of(each, index).state_dict() for each in (struck, calm))
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_nan_data_ends_every_episode_and_later_episodes_are_unaffected(make_setup_for):
    setup = make_setup_for(n_envs=2)
    clean = load_dataset(setup.task)
    spoilt = Split(clean.train.inputs.clone(), clean.train.targets)
    spoilt.inputs[:, 0, 7] = math.inf
    environment = LocalEnvironment(setup, replace(clean, train=spoilt), torch.device("cpu"))
    for seeds in ([1, 2], [3, 4]):
        assert all(report.ended is None for report in environment.reset(seeds))
        for report in environment.step([WAIT, WAIT]):
            assert not math.isfinite(report.train_loss)
            assert report.ended is EpisodeEnd.GOVERNOR
            assert report.rollback.cause is GovernorCause.NON_FINITE
            assert not math.isfinite(report.rollback.loss)
        assert all(math.isfinite(judged.test_loss) for judged in environment.evaluate())


@pytest.mark.parametrize("broken", [False, True])
def test_a_rollback_in_the_last_epoch_leaves_no_shapley_values(make_local, broken):
    script = (GERMINATE, ADVANCE, ADVANCE, WAIT, WAIT)
    environment = make_local(n_envs=1, max_epochs=len(script), counterfactuals={"shapley": True})
    environment.reset([1])
    for action in script[:-1]:
        environment.step([action])
    if broken:
        with torch.no_grad():
            poison(host_of(environment, 0))
    (report,) = environment.step([WAIT])
    assert report.ended is (EpisodeEnd.GOVERNOR if broken else EpisodeEnd.HORIZON)
    assert len(report.counterfactuals) == 2
    assert (report.shapley is None) == broken


def test_the_last_stable_snapshot_is_restored_bit_for_bit(make_local):
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


def test_before_the_first_snapshot_the_fresh_host_is_restored(make_local, task):
    environment = make_local(n_envs=1)
    environment.reset([7])
    with torch.no_grad():
        host_of(environment, 0).classifier.bias[0] = math.nan
    (report,) = environment.step([WAIT])
    assert report.rollback.restored_epoch == 0
    rules = environment._setup.config.lifecycle
    newborn = build_host(task.host, HostOptions(slots=task.slots, rules=rules, rng_seed=7))
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


def test_ordinary_growth_is_not_rolled_back(make_local, play, growth, random_script):
    scripts = [growth, *(random_script(seed, len(growth)) for seed in (10, 11, 12))]
    steps = play(make_local(n_envs=4), [21, 22, 23, 24], scripts)
    assert all(report.rollback is None for step in steps for report in step)
