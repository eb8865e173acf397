"""The family ``loss`` by hand: pay for a fall of the loss, no counterfactual read."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from esper_leyline import CounterfactualConfig, EpisodeEnd, Op, RewardConfig, SeedStage
from esper_simic import build_reward

from .episode_strategies import CONFIGS, GAMMA, LOSS
from .reports import act, report, seed
from .simulated_episodes import WAIT

T = 10
HELD = seed(SeedStage.HOLDING, alpha=1.0, epochs_in_stage=9, age=9)
KEPT = replace(HELD, stage=SeedStage.FOSSILIZED)
LEAVING = replace(HELD, stage=SeedStage.BLENDING, alpha=0.4, pruning=True)
NONE = seed(SeedStage.DORMANT)


def episode(*epochs, start=1, ended=EpisodeEnd.HORIZON):
    """Returns the reports of an episode's last epochs, each given as a loss and a seed."""
    path = [
        report(held, val_loss=loss, epoch=epoch, max_epochs=T)
        for epoch, (loss, held) in enumerate(epochs, start)
    ]
    return [*path[:-1], replace(path[-1], ended=ended)]


def components(mode, path, actions=None, **weights):
    """Returns the components of each step of a path, one reward seeing them in order."""
    reward = build_reward(RewardConfig(mode=mode, family="loss", **weights), gamma=GAMMA)
    actions = [WAIT] * len(path) if actions is None else actions
    return [
        reward(path[step], actions[step], path[step + 1]).components
        for step in range(len(path) - 1)
    ]


def nats(mode, part, path, **weights):
    """Returns what a part pays by the step, at its worth on the horizon."""
    return [
        step[part] / GAMMA ** (T - after.epoch)
        for step, after in zip(components(mode, path, **weights), path[1:], strict=True)
    ]


def at_the_end(mode, *epochs, **facts):
    return components(mode, episode(*epochs, **facts))[-1]["terminal"]


def bare(*losses):
    return [(loss, NONE) for loss in losses]


@pytest.mark.parametrize("mode", ["shaped", "basic"])
def test_progress_by_hand(mode):
    before, after = (report(val_loss=loss, epoch=10) for loss in (2.0, 1.5))
    (fell,) = components(mode, [before, after])
    assert fell["progress"] == pytest.approx(GAMMA**10 * 0.5)
    (rose,) = components(mode, [after, before], loss_weight=2.0)
    assert rose["progress"] == pytest.approx(-2 * GAMMA**10 * 0.5)
    last = replace(after, epoch=20)
    assert components(mode, [before, last])[0]["progress"] == 0.5
    awful = report(val_loss=math.inf, epoch=20)
    assert components(mode, [last, awful])[0]["progress"] == -10.5
    crashed = replace(last, ended=EpisodeEnd.GOVERNOR)
    assert components(mode, [before, crashed])[0]["progress"] == 0
    crashed = replace(last, val_loss=3.0, ended=EpisodeEnd.GOVERNOR)
    assert components(mode, [before, crashed])[0]["progress"] == -1.0
    late = replace(last, epoch=25)
    assert components(mode, [before, late])[0]["progress"] == 0.5
    odd = replace(last, val_loss=-3.0)
    assert components(mode, [before, odd])[0]["progress"] == 2.0


@pytest.mark.parametrize("name", LOSS)
def test_no_counterfactual_is_read(name):
    """Nor is an inflated contribution suspected, which only a counterfactual could show."""
    known = [
        report(replace(HELD, contribution=5.0), epoch=18, val_loss=1.4, val_accuracy=60.0),
        report(replace(HELD, contribution=5.0), epoch=19, val_loss=1.2, val_accuracy=60.0),
        report(
            replace(KEPT, contribution=30.0),
            epoch=20,
            val_loss=1.0,
            val_accuracy=50.0,
            counterfactuals=(CounterfactualConfig(active=(), accuracy=20.0),),
            ended=EpisodeEnd.HORIZON,
        ),
    ]
    blind = [
        replace(
            each,
            seeds=tuple(replace(held, contribution=None) for held in each.seeds),
            counterfactuals=(),
        )
        for each in known
    ]
    actions = [act(Op.PRUNE), act(Op.FOSSILIZE)]
    paid = [
        [
            reward(path[step], actions[step], path[step + 1])
            for step in range(2)
            for reward in [build_reward(CONFIGS[name], gamma=GAMMA)]
        ]
        for path in (known, blind)
    ]
    assert paid[0] == paid[1]
    assert all(step.flags == step.notes == () for step in paid[0])


@pytest.mark.parametrize(("mode", "weight"), [("sparse", 1), ("minimal", 1), ("simplified", 3)])
def test_the_terminal_reward_is_the_relative_drop_of_the_loss(mode, weight):
    assert at_the_end(mode, *bare(2.0, 1.7, 0.5)) == pytest.approx(weight * 0.75)
    assert at_the_end(mode, (2.0, NONE), (0.5, HELD), (0.5, KEPT)) == pytest.approx(weight * 0.75)
    assert at_the_end(mode, *bare(1.0, 0.2, 1.5)) == pytest.approx(weight * -0.5)
    assert at_the_end(mode, *bare(0.01, 0.2, math.inf)) == -weight
    assert at_the_end(mode, *bare(math.inf, 3.0)) == pytest.approx(weight * 0.75)
    assert at_the_end(mode, *bare(None, 2.0, 1.0)) == pytest.approx(weight * 0.5)
    assert at_the_end(mode, *bare(2.0, 1.0, math.nan)) == pytest.approx(weight * 0.5)
    assert at_the_end(mode, *bare(0.0, 1.0)) == 0
    assert at_the_end(mode, *bare(math.nan, None)) == 0
    assert at_the_end(mode, *bare(2.0, 0.5), ended=None) == 0
    assert at_the_end(mode, *bare(2.0, 0.5), ended=EpisodeEnd.GOVERNOR) == -3


@pytest.mark.parametrize("mode", ["sparse", "minimal"])
def test_rent_is_charged_once_at_the_end(mode):
    path = [replace(each, fossil_parameters=500) for each in episode(*bare(2.0, 1.0, 0.5))]
    rents = [step["rent"] for step in components(mode, path)]
    assert rents == [0, pytest.approx(-0.05 * math.log(1.5))]


def test_the_terminal_reward_uses_the_committed_loss():
    """A host held up by a seed on trial is judged as it last was without it, or as it is."""
    start = (2.0, NONE), (1.5, NONE), (1.5, replace(HELD, stage=SeedStage.BLENDING))
    assert at_the_end("sparse", *start, (0.5, HELD), (0.5, HELD)) == pytest.approx(0.25)
    assert at_the_end("sparse", *start, (1.8, HELD), (1.8, HELD)) == pytest.approx(0.1)
    assert at_the_end("sparse", *start, (0.5, HELD), (0.4, KEPT)) == pytest.approx(0.8)
    # A prune is done by the action, or by the ramp once the epoch was validated.
    assert at_the_end("sparse", *start, (0.5, HELD), (1.4, NONE)) == pytest.approx(0.3)
    assert at_the_end("sparse", *start, (0.5, LEAVING), (0.6, NONE)) == pytest.approx(0.25)
    # A seed that has only begun to blend has not taken part yet.
    begun = replace(HELD, stage=SeedStage.BLENDING, alpha=0.0)
    assert at_the_end("sparse", (2.0, NONE), (1.5, begun), (1.0, HELD)) == pytest.approx(0.5)
    training = replace(begun, stage=SeedStage.TRAINING)
    assert at_the_end("sparse", (2.0, training), (1.0, training)) == pytest.approx(0.5)


def test_without_earlier_steps_the_committed_loss_starts_after_a_trial():
    assert at_the_end("sparse", (2.0, HELD), (1.0, HELD)) == 0
    assert at_the_end("sparse", (2.0, HELD), (1.0, HELD), (1.0, KEPT)) == pytest.approx(0.5)
    assert nats("escrow", "progress", episode((2.0, HELD), (1.0, HELD), (0.5, KEPT))) == [0, 0]


@pytest.mark.parametrize("fraction", [0.0, 0.7, 1.0])
def test_a_drop_is_rewarded_in_equal_parts_until_the_horizon(fraction):
    path = episode(*bare(2.0, 2.0, 1.2, 1.2, 1.2), start=6)
    settings = {"drip_fraction": fraction}
    at_once = nats("basic_plus", "progress", path, **settings)
    assert at_once == pytest.approx([0, (1 - fraction) * 0.8, 0, 0])
    drip = nats("basic_plus", "drip", path, **settings)
    assert drip == pytest.approx([0, *[fraction * 0.8 / 3] * 3])
    doubled = nats("basic_plus", "drip", path, **settings, loss_weight=2.0)
    assert doubled == pytest.approx([2 * each for each in drip])


def test_a_second_drop_is_rewarded_in_addition():
    path = episode(*bare(2.0, 1.2, 0.6, 0.6, 0.6), start=6)
    drip = nats("basic_plus", "drip", path, drip_fraction=1.0)
    assert drip == pytest.approx([0.2, *[0.2 + 0.2] * 3])


def test_a_rise_subtracts_the_reward_of_the_drop_that_it_undoes():
    everything = {"drip_fraction": 1.0}
    # Half of the fall of 0.8 is paid for when half of it is undone; the rest lasts.
    path = episode(*bare(2.0, 1.2, 1.2, 1.6, 1.6), start=6)
    assert nats("basic_plus", "drip", path, **everything) == pytest.approx(
        [0.2, 0.2, -0.2 + 0.1, 0.1]
    )
    # All of it and more is undone; what falls again is paid for again.
    path = episode(*bare(2.0, 1.2, 2.5, 2.1, 2.1), start=6)
    assert nats("basic_plus", "drip", path, **everything) == pytest.approx(
        [0.2, -0.2 - 0.5, 0.2, 0.2]
    )
    # What happens in the last epoch is paid in it.
    path = episode(*bare(2.0, 1.2), start=9)
    assert nats("basic_plus", "drip", path, **everything) == pytest.approx([0.8])


def test_a_rollback_pays_no_outstanding_part():
    path = episode(*bare(2.0, 1.0, 1.0, 0.5), start=1, ended=EpisodeEnd.GOVERNOR)
    drip = nats("basic_plus", "drip", path, drip_fraction=1.0)
    assert drip[:2] == pytest.approx([1 / 9] * 2)
    assert drip[2] == 0
    path = episode(*bare(2.0, 1.0, math.inf), ended=EpisodeEnd.GOVERNOR)
    assert nats("basic_plus", "drip", path, drip_fraction=1.0)[-1] == pytest.approx(-1 / 9 - 10)


def test_payments_continue_in_an_epoch_without_measurement():
    path = episode(*bare(2.0, 1.2, None, math.nan, 1.2), start=6)
    assert nats("basic_plus", "drip", path, drip_fraction=1.0) == pytest.approx([0.2] * 4)


ESCROW = {
    "paid at once while no seed is on trial": (bare(2.0, 1.5, 1.7), [0.5, -0.2]),
    "kept on trial, paid on fossilizing": (
        [(2.0, NONE), (1.5, replace(HELD, stage=SeedStage.BLENDING)), (1.0, HELD), (0.8, KEPT)],
        [0.5, 0.0, 0.7],
    ),
    "returned on pruning": (
        [(2.0, NONE), (2.0, HELD), (1.0, HELD), (0.4, HELD), (2.0, NONE)],
        [0.0, 0.0, 0.0, 0.0],
    ),
    "what the host did meanwhile is settled too": (
        [(2.0, NONE), (1.9, HELD), (0.4, HELD), (1.6, NONE)],
        [0.1, 0.0, 0.3],
    ),
    "forfeited when the episode ends on a trial": (
        [(2.0, NONE), (1.9, HELD), (0.4, HELD), (0.4, HELD)],
        [0.1, 0.0, 0.0],
    ),
    "worse by a trial is borne": (
        [(2.0, NONE), (1.9, HELD), (2.4, HELD), (2.4, HELD)],
        [0.1, 0.0, -0.5],
    ),
}


@pytest.mark.parametrize("story", ESCROW)
def test_escrow_by_hand(story):
    epochs, due = ESCROW[story]
    path = episode(*epochs, start=T + 1 - len(epochs))
    assert nats("escrow", "progress", path) == pytest.approx(due)
    assert nats("escrow", "progress", path, loss_weight=3.0) == pytest.approx([3 * d for d in due])


@pytest.mark.parametrize("held", [NONE, HELD, KEPT])
def test_a_rollback_pays_no_escrow(held):
    path = episode((2.0, NONE), (1.5, HELD), (0.4, HELD), (0.1, held), ended=EpisodeEnd.GOVERNOR)
    assert nats("escrow", "progress", path)[-1] == 0
    path = episode((2.0, NONE), (1.5, HELD), (0.4, HELD), (9.5, held), ended=EpisodeEnd.GOVERNOR)
    assert nats("escrow", "progress", path)[-1] == pytest.approx(-8.0)
