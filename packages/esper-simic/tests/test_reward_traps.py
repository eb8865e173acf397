"""Defects that cost others weeks: traps 11 to 15, 17 and 23, one test or more for each."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_leyline import EpisodeEnd, Flag, Op, SeedStage
from esper_simic import build_reward

from .episode_strategies import (
    CONFIGS,
    CONTRIBUTION,
    GAMMA,
    LOSS,
    PENALTIES,
    discounted,
    grown,
    loop_of_germinations,
    rewards_of,
)
from .reports import act, any_report, report, seed
from .simulated_episodes import SLOTS, WAIT, Measured, SimulatedEpisode, at, germinate

PLAN = settings(max_examples=40, deadline=None)
LONG = settings(PLAN, max_examples=25)
"""For episodes of hundreds of epochs."""
PROGRESS = ("shaped-loss", "basic-loss", "basic_plus-loss", "escrow-loss")
every_mode = pytest.mark.parametrize("name", CONFIGS)
progress_mode = pytest.mark.parametrize("name", PROGRESS)
contribution_mode = pytest.mark.parametrize("name", CONTRIBUTION)


def paid(name, previous, current, action=WAIT):
    return build_reward(CONFIGS[name], gamma=GAMMA)(previous, action, current)


def life_of(actions, said, *, max_epochs=25):
    episode = SimulatedEpisode(max_epochs=max_epochs)
    for epoch in range(max_epochs):
        episode.step(actions.get(epoch, WAIT), said(epoch))
    return episode


GROWING = {0: germinate(), 9: at(Op.FOSSILIZE)}
"""A seed is germinated at once and fossilized in time."""


# 11: pay for improvement since germination paid for the host's own progress.


@contribution_mode
def test_11_the_hosts_own_progress_is_not_paid_until_the_end(name):
    stuck, rising = (
        life_of(
            GROWING,
            lambda epoch, slope=slope: Measured(
                accuracy=20.0 + slope * epoch, contributions={"r0c0": 4.0}
            ),
        )
        for slope in (0.0, 3.0)
    )
    assert rising.stage() is SeedStage.FOSSILIZED
    still, moving = (rewards_of(episode, CONFIGS[name]) for episode in (stuck, rising))
    assert still[:-1] == moving[:-1]
    assert moving[-1].components["terminal"] >= still[-1].components["terminal"]


@contribution_mode
def test_11_stage_improvement_is_not_rewarded(name):
    plain = seed(SeedStage.FOSSILIZED, 0.0)
    lucky = replace(plain, stage_improvement=40.0)
    assert paid(name, report(plain), report(plain)) == paid(name, report(lucky), report(lucky))


@contribution_mode
@PLAN
@given(st.floats(0.5, 60))
def test_11_fossilizing_what_contributes_is_not_punished(name, contribution):
    episode = grown(contribution=contribution, rest=8, max_epochs=40)
    episode.step(at(Op.FOSSILIZE), Measured(contributions={"r0c0": contribution}))
    step = rewards_of(episode, CONFIGS[name])[-1].components
    assert sum(step.get(part, 0.0) for part in ("attribution", "drip", "intervention")) > -0.05


# 12: a first-germination bonus and a potential that did not telescope.


@every_mode
def test_12_the_first_germination_earns_the_same_as_any_other(name):
    first = paid(name, report(), report(seed(SeedStage.GERMINATED)), act(Op.GERMINATE))
    grown_before = replace(report(), epoch=15, wasted_epoch_parameters=500)
    later = replace(report(seed(SeedStage.GERMINATED)), epoch=16, wasted_epoch_parameters=500)
    assert paid(name, grown_before, later, act(Op.GERMINATE)).total == first.total


@LONG
@given(st.randoms(use_true_random=False))
def test_12_germinating_and_pruning_never_earns_more_than_waiting(chance):
    busy = SimulatedEpisode(max_epochs=60)
    busy.step()
    while busy.now.epoch < 36:
        loop_of_germinations(busy, chance, slots=(0, 1, 2), steps=2)
    idle = SimulatedEpisode(max_epochs=60)
    for episode in (busy, idle):
        while episode.now.ended is None:
            episode.step()
    for name, config in CONFIGS.items():
        assert discounted(busy, config) <= discounted(idle, config) + 1e-9, name


# 13: a sign flipped for PRUNE turned penalties into bonuses.


@PLAN
@given(any_report(), any_report(), st.integers(0, 5))
def test_13_penalties_are_penalties_under_every_op(previous, current, slot):
    for name in CONFIGS:
        for op in Op:
            components = paid(name, previous, current, act(op, slot)).components
            assert all(components[part] <= 0 for part in PENALTIES if part in components), (
                name,
                op,
            )


@every_mode
def test_13_pruning_costs_no_less_than_waiting_for_the_same_outcome(name):
    before, after = report(seed(SeedStage.HOLDING, 8.0, age=9)), report()
    assert paid(name, before, after, act(Op.PRUNE)).total <= paid(name, before, after).total


# 14: the loss-delta reward had its sign inverted against its own tracker.


@progress_mode
@PLAN
@given(st.floats(0, 12), st.floats(0, 12))
def test_14_a_falling_loss_is_positive(name, before, after):
    path = (report(val_loss=loss) for loss in (before, after))
    progress = paid(name, *path).components["progress"]
    assert (progress > 0) == (before > after)
    assert (progress < 0) == (before < after)


@pytest.mark.parametrize("name", LOSS)
def test_14_a_host_whose_loss_falls_earns_more_than_one_whose_loss_rises(name):
    learns, unlearns = (
        life_of({}, lambda epoch, way=way: Measured(loss=1.5 + way * 0.05 * epoch))
        for way in (-1, 1)
    )
    config = CONFIGS[name]
    assert discounted(learns, config) > 0.5 + discounted(unlearns, config)


# 15: the terminal bonus used only the last step's delta.


@every_mode
@PLAN
@given(any_report())
def test_15_the_terminal_reward_does_not_depend_on_the_step_before(name, previous):
    done = report(seed(SeedStage.FOSSILIZED, 8.0), val_accuracy=70.0, ended=EpisodeEnd.HORIZON)
    # An inflated contribution is the one thing that a look back may find.
    previous = replace(previous, val_accuracy=70.0)
    due = paid(name, report(), done).components["terminal"]
    assert paid(name, previous, done).components["terminal"] == due


@pytest.mark.parametrize("name", [n for n, c in CONFIGS.items() if not c.mode.startswith("basic")])
def test_15_a_better_final_value_earns_more_even_after_a_flat_last_step(name):
    low, high = (
        life_of({}, lambda epoch, good=good: good if epoch > 3 else Measured())
        for good in (Measured(accuracy=40.0, loss=0.8), Measured(accuracy=80.0, loss=0.2))
    )
    last = [rewards_of(episode, CONFIGS[name])[-1].total for episode in (low, high)]
    assert last[1] > last[0]


# 17: what was not measured looked like what was.


@contribution_mode
def test_17_unmeasured_values_are_neither_rewarded_nor_flagged(name):
    """A seed first measured at 25 points has not risen by them, nor one lost from sight fallen."""
    unknown, known = (seed(SeedStage.HOLDING, c) for c in (None, 25.0))
    first = paid(name, report(unknown, val_accuracy=60.0), report(known, val_accuracy=50.0))
    assert first.flags == ()
    zero = report(replace(known, contribution=0.0), val_accuracy=60.0)
    assert paid(name, zero, report(known, val_accuracy=50.0)).flags == (
        Flag(kind="inflated_contribution", slot="r0c0"),
    )
    still = paid(name, report(unknown), report(unknown)).components
    assert all(still.get(part, 0.0) == 0 for part in ("attribution", "drip"))


@contribution_mode
@pytest.mark.parametrize("accuracy", [None, math.nan, math.inf])
def test_17_an_unmeasured_accuracy_does_not_count_as_zero(name, accuracy):
    before = report(seed(SeedStage.HOLDING, 5.0), val_accuracy=60.0)
    after = report(seed(SeedStage.HOLDING, 25.0), val_accuracy=accuracy)
    assert paid(name, before, after).flags == ()


@progress_mode
@pytest.mark.parametrize("loss", [None, math.nan])
def test_17_an_unmeasured_loss_counts_as_unchanged(name, loss):
    known, unknown = report(val_loss=2.0), report(val_loss=loss)
    for path in ((known, unknown), (unknown, known)):
        assert paid(name, *path).components["progress"] == 0


@contribution_mode
def test_17_a_rise_is_flagged_whatever_the_reported_velocity(name):
    """The reward compares measurements itself, so a velocity lost on the way costs nothing."""
    before = report(seed(SeedStage.FOSSILIZED, 5.0), val_accuracy=60.0)
    reports = [
        report(seed(SeedStage.FOSSILIZED, 25.0, contribution_velocity=velocity), val_accuracy=50.0)
        for velocity in (None, 0.0, 20.0)
    ]
    assert [paid(name, before, after).flags for after in reports] == [
        (Flag(kind="inflated_contribution", slot="r0c0"),)
    ] * 3


# 23: what was farmed in practice.


@LONG
@given(st.floats(5, 60), st.integers(0, 12))
def test_23_no_behaviour_earns_more_than_fossilizing_a_seed_that_is_worth_its_rent(
    contribution, extra
):
    """Neither holding it for ever, nor turning its alpha about, nor pruning it in the end."""
    episode = grown(contribution=contribution, rest=extra, max_epochs=60)
    turn = at(Op.SET_ALPHA_TARGET, alpha_target=0, alpha_speed=1)
    commit, *others = (
        played(episode, script, contribution)
        for script in (
            {0: at(Op.FOSSILIZE)},
            {},
            dict.fromkeys(range(0, 40, 5), turn),
            {30: at(Op.PRUNE)},
        )
    )
    for name in CONTRIBUTION:
        best = max(discounted(other, CONFIGS[name]) for other in others)
        assert discounted(commit, CONFIGS[name]) > best, name


def played(episode, script, contribution):
    """Plays a copy to the end by a script; accuracy falls with a seed that is pruned."""
    branch, step = episode.copy(), 0
    while branch.now.ended is None:
        action = script.get(step, WAIT)
        pruned = action.op is Op.PRUNE or not branch.now.seeds[0].occupied
        branch.step(
            action,
            Measured(
                accuracy=70.0 - contribution if pruned else 70.0,
                loss=1.0 if pruned else 1.0 - contribution / 100,
                contributions={"r0c0": contribution},
            ),
        )
        step += 1
    return branch


@PLAN
@given(st.integers(0, 4), st.booleans(), st.lists(st.floats(0, 8), min_size=25, max_size=25))
def test_23_early_germination_is_not_rewarded_for_the_hosts_own_progress(epoch, prune, gains):
    """A seed that contributes nothing earns nothing, whatever the host does meanwhile."""

    def said(step):
        climbed = min(10.0 + sum(gains[: step + 1]), 95.0)
        return Measured(
            accuracy=climbed,
            loss=3.0 - climbed / 40,
            contributions=dict.fromkeys(SLOTS, 0.0),
        )

    plan = {epoch: germinate()} | ({20: at(Op.PRUNE)} if prune else {})
    early, idle = life_of(plan, said), life_of({}, said)
    for name, config in CONFIGS.items():
        assert discounted(early, config) <= discounted(idle, config) + 1e-9, name


def test_23_a_spike_of_the_loss_and_its_recovery_earn_nothing():
    losses = [1.0, 1.0, 500.0, 9.0, 5.0, 1.0] + [1.0] * 19
    episode = life_of({}, lambda epoch: Measured(loss=losses[epoch]))
    for name in PROGRESS:
        config = CONFIGS[name]
        assert discounted(episode, config, part="progress") == pytest.approx(0.0, abs=1e-9), name
        worst = min(each.components["progress"] for each in rewards_of(episode, config))
        assert -12 <= worst < -2, name
