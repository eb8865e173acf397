from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from esper_kasmina import build_host
from esper_leyline import Blueprint, EpisodeEnd, FactoredAction, Op, SeedEventKind, SeedStage
from esper_leyline.observation import HISTORY
from esper_tolaria import (
    LocalEnvironment,
    Split,
    TolariaError,
    build_environment,
    load_dataset,
)

WAIT = FactoredAction()


def test_the_report_of_a_fresh_host_has_no_measurements(make_local):
    environment = make_local(n_envs=2)
    reports = environment.reset([11, 12])
    assert [report.environment for report in reports] == [0, 1]
    assert [report.rng_seed for report in reports] == [11, 12]
    for report in reports:
        assert report.epoch == 0
        assert report.max_epochs == 12
        assert report.history == report.events == report.counterfactuals == ()
        assert report.action is report.action_succeeded is report.ended is None
        assert report.val_loss is report.val_accuracy is report.train_loss is None
        assert report.host_parameters == environment.spec.host_parameters > 0
        assert [seed.slot for seed in report.seeds] == ["r0c0", "r0c1", "r0c2"]


def test_the_lifecycle_of_two_seeds_is_reported_step_by_step(make_local, play, growth):
    environment = make_local(n_envs=1)
    steps = [step[0] for step in play(environment, [5], [growth])]
    assert [step.epoch for step in steps] == list(range(len(growth) + 1))
    assert [step.action for step in steps[1:]] == list(growth)
    assert all(step.action_succeeded for step in steps[1:]), [s.rejection for s in steps]
    for before, after in pairwise(steps[1:]):
        window = (*before.history, (after.val_loss, after.val_accuracy))
        assert after.history == window[-HISTORY:]
    blended = next(step for step in steps if step.counterfactuals)
    assert blended.seeds[0].contribution is not None
    assert blended.seeds[0].counterfactual_age == 0
    last = steps[-1]
    assert last.seeds[0].stage is SeedStage.FOSSILIZED
    assert last.fossil_parameters == last.seeds[0].parameters > 0
    assert last.live_parameters == 0
    pruned = [e for step in steps for e in step.events if e.kind is SeedEventKind.PRUNED]
    assert [event.slot for event in pruned] == ["r0c2"]
    assert last.wasted_epoch_parameters == pruned[0].parameters * pruned[0].age > 0
    assert last.val_accuracy > steps[1].val_accuracy


def without_comparisons(report):
    seeds = tuple(replace(seed, interaction_sum=None) for seed in report.seeds)
    return replace(report, seeds=seeds, counterfactuals=(), shapley=None)


LEAST = {"counterfactuals": {"none": False, "pairs": False}, "telemetry": {"level": "off"}}
MOST = {"counterfactuals": {"solo": True, "committed": True, "shapley": True}}


def test_counterfactuals_do_not_change_other_numbers(make_local, play, growth, random_script):
    seeds, scripts = [5, 6], [growth, random_script(4, len(growth))]
    least, most = (
        play(make_local(n_envs=2, max_epochs=len(growth), **asked), seeds, scripts)
        for asked in (LEAST, MOST)
    )
    assert least != most
    assert most[-1][0].shapley is not None
    for one, two in zip(least, most, strict=True):
        assert [without_comparisons(r) for r in one] == [without_comparisons(r) for r in two]


def all_slots(op, **options):
    return [FactoredAction(op=op, slot=slot, **options) for slot in range(3)]


def test_three_seeds_have_interactions_and_shapley_values_on_the_last_epoch(make_local, play):
    script = [
        *all_slots(Op.GERMINATE, blueprint=Blueprint.CONV_LIGHT),
        *all_slots(Op.ADVANCE),
        *all_slots(Op.ADVANCE),
        WAIT,
        WAIT,
    ]
    environment = make_local(n_envs=1, max_epochs=len(script), counterfactuals={"shapley": True})
    *_, before, last = (step[0] for step in play(environment, [5], [script]))
    f = {frozenset(each.active): each.accuracy for each in last.counterfactuals}
    assert len(f) == 8
    assert all(seed.interaction_sum is not None for seed in last.seeds)
    assert before.shapley is None
    assert last.shapley.exact
    assert set(last.shapley.values) == {"r0c0", "r0c1", "r0c2"}
    gain = f[frozenset(last.shapley.values)] - f[frozenset()]
    assert sum(last.shapley.values.values()) == pytest.approx(gain)
    assert last.val_accuracy == f[frozenset(last.shapley.values)]


@pytest.mark.parametrize("found", [False, True])
def test_the_committed_accuracy_is_measured_where_it_is_asked_for(make_local, play, found):
    script = [
        *all_slots(Op.GERMINATE, blueprint=Blueprint.CONV_LIGHT, alpha_target=2),
        *all_slots(Op.ADVANCE),
        *all_slots(Op.ADVANCE),
        WAIT,
        FactoredAction(op=Op.ADVANCE, slot=0),
        FactoredAction(op=Op.FOSSILIZE, slot=0),
        WAIT,
    ]
    environment = make_local(
        n_envs=1,
        max_epochs=len(script),
        **(LEAST | ({"counterfactuals": {"committed": True}} if found else {})),
    )
    last = play(environment, [5], [script])[-1][0]
    stages = [seed.stage for seed in last.seeds]
    assert stages == [SeedStage.FOSSILIZED, SeedStage.BLENDING, SeedStage.BLENDING]
    measured = {each.active for each in last.counterfactuals}
    assert {("r0c0", "r0c1", "r0c2"), ("r0c1", "r0c2")} < measured
    assert (("r0c0",) in measured) == found


def test_seconds_are_split_by_the_parts_of_a_step(make_local):
    environment = make_local(n_envs=1)
    environment.reset([0])
    (report,) = environment.step([WAIT])
    assert set(report.seconds) == {"command", "train", "validate", "lifecycle"}
    assert all(seconds >= 0 for seconds in report.seconds.values())


def test_a_host_does_not_depend_on_the_other_hosts(make_local, play, growth, random_script):
    seeds = [3, 1, 4, 15]
    scripts = [growth[:8], random_script(1, 8), (*growth[2:8], *growth[:2]), random_script(2, 8)]
    together = play(make_local(n_envs=4), seeds, scripts)
    for index, (seed, script) in enumerate(zip(seeds, scripts, strict=True)):
        alone = play(make_local(n_envs=1), [seed], [script])
        for joint, (single,) in zip(together, alone, strict=True):
            assert replace(single, environment=index) == joint[index]


def test_equal_seeds_give_equal_episodes(make_local, play, growth):
    environment, scripts = make_local(n_envs=2), [growth[:6]] * 2
    first = play(environment, [8, 9], scripts)
    torch.manual_seed(123)
    assert play(environment, [8, 9], scripts) == first
    other = play(environment, [9, 8], scripts)
    assert other[-1][0].val_loss == first[-1][1].val_loss != first[-1][0].val_loss


def test_the_number_of_threads_is_restored(make_local):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        environment = make_local(n_envs=1)
        environment.reset([0])
        environment.step([WAIT])
        environment.evaluate()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_global_generator_is_not_used(make_local, play, growth):
    environment = make_local(n_envs=1)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    play(environment, [2], [growth])
    assert torch.equal(before, torch.get_rng_state())


def test_a_rejected_action_is_reported_and_the_epoch_is_trained(make_local):
    environment = make_local(n_envs=1)
    environment.reset([0])
    (report,) = environment.step([FactoredAction(op=Op.FOSSILIZE, slot=1)])
    assert report.action_succeeded is False
    assert "HOLDING" in report.rejection
    assert report.epoch == 1
    assert report.val_loss is not None


def test_a_blueprint_outside_the_task_is_rejected(make_local):
    environment = make_local(n_envs=1)
    environment.reset([0])
    (report,) = environment.step([FactoredAction(op=Op.GERMINATE, blueprint=Blueprint.LORA)])
    assert report.action_succeeded is False
    assert "lora" in report.rejection
    assert "conv_light" in report.rejection
    assert report.seeds[0].stage is SeedStage.DORMANT


def test_after_the_horizon_a_host_is_not_changed(make_local):
    environment = make_local(n_envs=1, max_epochs=2)
    environment.reset([0])
    assert environment.step([WAIT])[0].ended is None
    (last,) = environment.step([WAIT])
    assert last.ended is EpisodeEnd.HORIZON
    judged = environment.evaluate()
    (again,) = environment.step([FactoredAction(op=Op.GERMINATE, blueprint=Blueprint.NORM)])
    assert again is last
    assert environment.evaluate() == judged


def test_evaluation_changes_nothing(make_local, play, growth):
    undisturbed = play(make_local(n_envs=1), [6], [growth])
    environment = make_local(n_envs=1)
    environment.reset([6])
    for action, expected in zip(growth, undisturbed[1:], strict=True):
        (report,) = environment.step([action])
        (judged,) = environment.evaluate()
        assert replace(report, seconds={}) == expected[0]
        assert judged.parameters == report.total_parameters
        assert 0 <= judged.test_accuracy <= 100


def test_training_never_touches_the_test_rows(make_setup_for, play, growth):
    setup = make_setup_for(n_envs=1)
    data = load_dataset(setup.task)
    spoilt = Split(torch.full_like(data.test.inputs, float("nan")), data.test.targets * 0)
    cpu = torch.device("cpu")
    clean = play(LocalEnvironment(setup, data, cpu), [4], [growth])
    assert play(LocalEnvironment(setup, replace(data, test=spoilt), cpu), [4], [growth]) == clean


def test_decisions_read_the_validation_rows(make_setup_for, play, growth):
    setup = make_setup_for(n_envs=1)
    data = load_dataset(setup.task)
    relabelled = Split(data.validation.inputs, (data.validation.targets + 1) % 10)
    cpu = torch.device("cpu")
    clean = play(LocalEnvironment(setup, data, cpu), [4], [growth])[-1][0]
    other = LocalEnvironment(setup, replace(data, validation=relabelled), cpu)
    changed = play(other, [4], [growth])[-1][0]
    assert changed.train_loss == clean.train_loss
    assert changed.val_loss != clean.val_loss


def test_max_batches_shortens_the_epoch(make_local, task):
    whole = task.training.model_dump()
    environments = make_local(n_envs=1), make_local(n_envs=1, host=whole)
    losses = []
    for environment in environments:
        environment.reset([0])
        losses.append(environment.step([WAIT])[0].train_loss)
    assert losses[0] > losses[1]


def test_fewer_seeds_than_environments_start_fewer_hosts(make_local):
    environment = make_local(n_envs=4)
    assert len(environment.reset([1, 2])) == 2
    assert len(environment.step([WAIT, WAIT])) == 2


def test_wrong_calls_raise_clear_errors(make_local):
    environment = make_local(n_envs=2)
    with pytest.raises(TolariaError, match="call reset"):
        environment.step([WAIT])
    with pytest.raises(TolariaError, match="3 random seeds; give 1 to 2"):
        environment.reset([1, 2, 3])
    with pytest.raises(TolariaError, match="0 random seeds"):
        environment.reset([])
    environment.reset([1, 2])
    with pytest.raises(TolariaError, match="1 actions for 2 hosts"):
        environment.step([WAIT])
    with pytest.raises(TolariaError, match="slot 3; the 3 enabled slots"):
        environment.step([WAIT, FactoredAction(op=Op.PRUNE, slot=3)])


def test_the_spec_describes_the_environment(make_local, task):
    spec = make_local(n_envs=3, slots=["r0c2", "r0c0"], max_epochs=7).spec
    assert (spec.environments, spec.max_epochs) == (3, 7)
    assert spec.slots == ("r0c0", "r0c2")
    assert spec.blueprints == task.blueprints
    assert spec.styles == task.styles


def test_slots_that_the_host_does_not_have_are_an_error(task, make_config):
    with pytest.raises(TolariaError, match="no slot 'r0c9'; it offers r0c0, r0c1, r0c2"):
        build_environment(task, make_config(slots=["r0c9"]), build_host, "cpu", workers=1)


@pytest.mark.parametrize(
    ("device", "message"),
    [("toaster", "'toaster' is no device"), ("meta", "on cpu or cuda"), ("cuda:99", "not there")],
)
def test_a_missing_device_is_an_error(task, make_config, device, message):
    with pytest.raises(TolariaError, match=message):
        build_environment(task, make_config(), build_host, device)


def test_one_host_or_one_worker_runs_in_this_process(task, make_config):
    for envs, workers, hosts in ((1, None, "1 host"), (4, 1, "4 hosts computed together")):
        environment = build_environment(
            task, make_config(n_envs=envs), build_host, "cpu", workers=workers
        )
        assert isinstance(environment, LocalEnvironment)
        assert environment.plan == f"in this process on cpu, one thread, {hosts}"


def test_zero_workers_are_an_error(task, make_config):
    with pytest.raises(TolariaError, match="workers is 0"):
        build_environment(task, make_config(), build_host, "cpu", workers=0)


def test_one_host_is_built_to_find_the_facts_of_hosts(make_setup_for):
    setup = make_setup_for()
    built = []

    def factory(spec, options):
        built.append(options)
        return build_host(spec, options)

    setup = replace(setup, host_factory=factory)
    environment = LocalEnvironment(setup, load_dataset(setup.task), torch.device("cpu"))
    assert len(built) == 1
    assert environment.host_facts.stacks
    assert environment.host_facts.parameters == environment.spec.host_parameters == 794
    assert "computed together" in environment.plan
