"""Escrow: kept while a seed lives, paid when it is fossilized, gone when it goes."""

from __future__ import annotations

import pytest

from esper_leyline import EpisodeEnd, Flag, Op, RewardConfig, SeedStage
from esper_simic import build_reward

from .lives import WAIT, Life, Measured, at, germinate
from .stories import GAMMA, grown, rewards_of

CONFIG = RewardConfig(mode="escrow")
TEN = Measured(contributions={"r0c0": 10.0})


def paid_out(life: Life) -> list[float]:
    return [each.components["attribution"] for each in rewards_of(life, CONFIG)]


def measured_epochs(life: Life) -> int:
    return sum(each.seeds[0].contribution is not None for each in life.reports)


def test_a_fossil_is_paid_its_account_and_then_every_epoch():
    life = grown(contribution=10.0, rest=3, max_epochs=20)
    assert paid_out(life) == [0.0] * len(life.actions)
    earned = measured_epochs(life)
    assert earned > 3
    for action in (at(Op.FOSSILIZE), WAIT):
        life.step(action, TEN)
    assert paid_out(life)[-2:] == pytest.approx([0.15 * (earned + 1), 0.15])


def test_a_negative_account_is_charged_on_fossilization():
    life = grown(contribution=-10.0, max_epochs=20)
    harmful = measured_epochs(life)
    life.step(at(Op.FOSSILIZE), TEN)
    assert paid_out(life)[-1] == pytest.approx(0.15 * (1 - harmful))


def test_pruning_empties_the_account():
    life = grown(contribution=10.0, rest=3, max_epochs=60)
    life.step(at(Op.PRUNE), TEN)
    while life.stage() is not SeedStage.DORMANT:
        life.step(WAIT, TEN)
    life.step(germinate(), TEN)
    born = len(life.actions)
    while life.stage() is not SeedStage.HOLDING:
        life.step(WAIT, TEN)
    life.step(at(Op.FOSSILIZE), TEN)
    again = sum(each.seeds[0].contribution is not None for each in life.reports[born:])
    assert paid_out(life)[:-1] == [0.0] * (len(life.actions) - 1)
    # Sixty epochs share out what twenty would earn.
    assert paid_out(life)[-1] == pytest.approx(0.15 * again * 20 / 60)


def test_live_seeds_lose_their_accounts_at_the_end():
    life = grown(contribution=10.0, max_epochs=20)
    while life.now.ended is None:
        life.step(WAIT, TEN)
    assert paid_out(life) == [0.0] * 20


def test_an_end_by_the_governor_pays_no_account():
    life = grown(contribution=10.0, max_epochs=20)
    life.step(at(Op.FOSSILIZE), TEN, ended=EpisodeEnd.GOVERNOR)
    assert paid_out(life)[-1] == 0.0


def test_an_inflated_contribution_loses_its_earnings_but_not_the_account():
    life = grown(contribution=10.0, max_epochs=20)
    earned = measured_epochs(life)
    inflated = Measured(accuracy=40.0, contributions={"r0c0": 25.0})
    life.step(at(Op.FOSSILIZE), inflated)
    assert rewards_of(life, CONFIG)[-1].flags == (Flag(kind="inflated_contribution", slot="r0c0"),)
    assert paid_out(life)[-1] == pytest.approx(0.15 * earned)


def test_negative_rewards_of_an_inflated_contribution_remain():
    life = grown(contribution=-20.0, max_epochs=20)
    harmful = measured_epochs(life)
    life.step(at(Op.FOSSILIZE), Measured(accuracy=40.0, contributions={"r0c0": -10.0}))
    assert rewards_of(life, CONFIG)[-1].flags == (Flag(kind="inflated_contribution", slot="r0c0"),)
    assert paid_out(life)[-1] == pytest.approx(-0.15 * (2 * harmful + 1))


def test_a_step_that_does_not_continue_the_last_one_has_no_account():
    life = grown(contribution=10.0, rest=3, max_epochs=20)
    seen = len(life.actions)
    for action in (WAIT, at(Op.FOSSILIZE)):
        life.step(action, TEN)
    reward = build_reward(CONFIG, gamma=GAMMA)
    for index in [*range(seen), seen + 1]:
        paid = reward(life.reports[index], life.actions[index], life.reports[index + 1])
    assert paid.components["attribution"] == pytest.approx(0.15)
