"""Escrow: accounts of live seeds are paid on fossilization and lost when a seed is pruned."""

from __future__ import annotations

import pytest

from esper_leyline import EpisodeEnd, Flag, Op, RewardConfig, SeedStage
from esper_simic import build_reward

from .episode_strategies import GAMMA, grown, rewards_of
from .simulated_episodes import WAIT, Measured, SimulatedEpisode, at, germinate

CONFIG = RewardConfig(mode="escrow")
TEN = Measured(contributions={"r0c0": 10.0})


def paid_out(episode: SimulatedEpisode) -> list[float]:
    return [each.components["attribution"] for each in rewards_of(episode, CONFIG)]


def measured_epochs(episode: SimulatedEpisode) -> int:
    return sum(each.seeds[0].contribution is not None for each in episode.reports)


def test_a_fossil_earns_its_account_once_and_then_a_reward_each_epoch():
    episode = grown(contribution=10.0, rest=3, max_epochs=20)
    assert paid_out(episode) == [0.0] * len(episode.actions)
    earned = measured_epochs(episode)
    assert earned > 3
    for action in (at(Op.FOSSILIZE), WAIT):
        episode.step(action, TEN)
    assert paid_out(episode)[-2:] == pytest.approx([0.15 * (earned + 1), 0.15])


def test_a_negative_account_is_charged_on_fossilization():
    episode = grown(contribution=-10.0, max_epochs=20)
    harmful = measured_epochs(episode)
    episode.step(at(Op.FOSSILIZE), TEN)
    assert paid_out(episode)[-1] == pytest.approx(0.15 * (1 - harmful))


def test_pruning_empties_the_account():
    episode = grown(contribution=10.0, rest=3, max_epochs=60)
    episode.step(at(Op.PRUNE), TEN)
    while episode.stage() is not SeedStage.DORMANT:
        episode.step(WAIT, TEN)
    episode.step(germinate(), TEN)
    born = len(episode.actions)
    while episode.stage() is not SeedStage.HOLDING:
        episode.step(WAIT, TEN)
    episode.step(at(Op.FOSSILIZE), TEN)
    again = sum(each.seeds[0].contribution is not None for each in episode.reports[born:])
    assert paid_out(episode)[:-1] == [0.0] * (len(episode.actions) - 1)
    # Sixty epochs share out what twenty would earn.
    assert paid_out(episode)[-1] == pytest.approx(0.15 * again * 20 / 60)


def test_live_seeds_lose_their_accounts_at_the_end():
    episode = grown(contribution=10.0, max_epochs=20)
    while episode.now.ended is None:
        episode.step(WAIT, TEN)
    assert paid_out(episode) == [0.0] * 20


def test_a_rollback_pays_no_account():
    episode = grown(contribution=10.0, max_epochs=20)
    episode.step(at(Op.FOSSILIZE), TEN, ended=EpisodeEnd.GOVERNOR)
    assert paid_out(episode)[-1] == 0.0


def test_an_inflated_contribution_loses_its_earnings_but_not_the_account():
    episode = grown(contribution=10.0, max_epochs=20)
    earned = measured_epochs(episode)
    inflated = Measured(accuracy=40.0, contributions={"r0c0": 25.0})
    episode.step(at(Op.FOSSILIZE), inflated)
    assert rewards_of(episode, CONFIG)[-1].flags == (
        Flag(kind="inflated_contribution", slot="r0c0"),
    )
    assert paid_out(episode)[-1] == pytest.approx(0.15 * earned)


def test_negative_rewards_of_an_inflated_contribution_remain():
    episode = grown(contribution=-20.0, max_epochs=20)
    harmful = measured_epochs(episode)
    episode.step(at(Op.FOSSILIZE), Measured(accuracy=40.0, contributions={"r0c0": -10.0}))
    assert rewards_of(episode, CONFIG)[-1].flags == (
        Flag(kind="inflated_contribution", slot="r0c0"),
    )
    assert paid_out(episode)[-1] == pytest.approx(-0.15 * (2 * harmful + 1))


def test_a_step_that_does_not_continue_the_last_one_has_no_account():
    episode = grown(contribution=10.0, rest=3, max_epochs=20)
    seen = len(episode.actions)
    for action in (WAIT, at(Op.FOSSILIZE)):
        episode.step(action, TEN)
    reward = build_reward(CONFIG, gamma=GAMMA)
    for index in [*range(seen), seen + 1]:
        paid = reward(episode.reports[index], episode.actions[index], episode.reports[index + 1])
    assert paid.components["attribution"] == pytest.approx(0.15)
