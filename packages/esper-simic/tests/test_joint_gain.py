"""Co-adapted seeds are not paid for more than they gain together."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import CounterfactualConfig, EpisodeEnd, RewardConfig, SeedStage
from esper_simic import build_reward
from esper_simic.rewards.measurement import CAPPED, UNCAPPED, count_contributions, joint_gain

from .episode_strategies import CONFIGS, CONTRIBUTION, GAMMA
from .reports import SLOTS, any_report, report, seed
from .simulated_episodes import WAIT, active_none

points = st.floats(min_value=-60, max_value=60)


def host(*contributions, gain=None, stage=SeedStage.FOSSILIZED, **facts):
    """A host of 50 % with one seed a contribution; ``gain`` is what they gain together."""
    seeds = (seed(stage, c, slot=s) for s, c in zip(SLOTS, contributions, strict=False))
    bare = () if gain is None else (active_none(50.0 - gain),)
    return report(*seeds, counterfactuals=bare, **facts)


def counted(*contributions, gain=None):
    worth = count_contributions(host(*contributions, gain=gain))
    return tuple(worth.points.values()), worth.notes


def test_contributions_of_co_adapted_fossils_add_up_to_their_joint_gain():
    """Each is indispensable to the others: without any one, all 30 points are lost."""
    assert counted(30.0, 30.0, 30.0, gain=30.0) == (pytest.approx((10.0, 10.0, 10.0)), (CAPPED,))


def test_shares_keep_their_proportions():
    assert counted(30.0, 10.0, 20.0, gain=30.0) == (pytest.approx((15.0, 5.0, 10.0)), (CAPPED,))


def test_contributions_up_to_the_joint_gain_are_unchanged():
    assert counted(10.0, 5.0, 2.0, gain=17.0) == ((10.0, 5.0, 2.0), ())
    assert counted(10.0, 5.0, 2.0, gain=40.0) == ((10.0, 5.0, 2.0), ())
    # Nor is rounding taken for a claim too many.
    assert 0.1 + 0.2 > 50.0 - (50.0 - 0.3)
    assert counted(0.1, 0.2, gain=0.3) == ((0.1, 0.2), ())


def test_an_impossible_accuracy_gets_at_most_the_share_of_100_points():
    assert counted(1e9, 25.0, gain=50.0) == (pytest.approx((40.0, 10.0)), (CAPPED,))
    assert counted(-1e9) == ((-100.0,), ())


def test_negative_contributions_raise_the_cap():
    assert counted(10.0, -5.0, gain=5.0) == ((10.0, -5.0), ())
    assert counted(20.0, -5.0, gain=5.0) == (pytest.approx((10.0, -5.0)), (CAPPED,))


def test_without_joint_gain_only_negative_contributions_count():
    assert counted(20.0, 20.0, -5.0, gain=-30.0) == ((0.0, 0.0, -5.0), (CAPPED,))


def test_without_the_bare_host_nothing_is_capped_and_a_note_says_so():
    assert counted(30.0, 30.0, 30.0) == ((30.0, 30.0, 30.0), (UNCAPPED,))
    broken = replace(host(30.0, 30.0), counterfactuals=(active_none(math.nan),))
    assert count_contributions(broken).notes == (UNCAPPED,)
    blind = host(30.0, 30.0, gain=10.0, val_accuracy=None)
    assert count_contributions(blind).notes == (UNCAPPED,)
    assert counted(30.0) == ((30.0,), ())


def test_other_configurations_do_not_count_as_the_bare_host():
    some = CounterfactualConfig(active=("r0c0",), accuracy=1.0)
    assert joint_gain(report(counterfactuals=(some,))) is None
    assert joint_gain(report(counterfactuals=(some, active_none(20.0)))) == 30.0


def test_one_seed_alone_is_its_own_joint_gain():
    """As an environment measures it: both are the same difference of the same numbers."""
    whole, bare = 100.0 * 613 / 1000, 100.0 * 389 / 1000
    alone = replace(
        report(seed(SeedStage.HOLDING, whole - bare), val_accuracy=whole),
        counterfactuals=(active_none(bare),),
    )
    worth = count_contributions(alone)
    assert (worth.points["r0c0"], worth.notes) == (whole - bare, ())


def test_seeds_that_are_not_blended_have_no_contribution():
    waiting = host(30.0, 30.0, gain=10.0, stage=SeedStage.TRAINING)
    assert count_contributions(waiting).points == {}
    crashed = host(30.0, 30.0, gain=10.0, ended=EpisodeEnd.GOVERNOR)
    assert count_contributions(crashed).points == {}


@given(st.lists(points, min_size=1, max_size=3), points)
def test_contributions_never_exceed_the_joint_gain(contributions, gain):
    capped, notes = counted(*contributions, gain=gain)
    harm = sum(c for c in contributions if c < 0)
    assert sum(capped) <= max(gain, harm) + 1e-6
    assert all(abs(kept) <= abs(whole) for kept, whole in zip(capped, contributions, strict=True))
    assert all(kept * whole >= 0 for kept, whole in zip(capped, contributions, strict=True))
    assert (capped == tuple(contributions)) == (notes == ())


@given(any_report())
def test_contributions_of_any_report_are_finite(state):
    assert all(math.isfinite(each) for each in count_contributions(state).points.values())


def paid(name, state):
    return build_reward(CONFIGS[name], gamma=GAMMA)(state, WAIT, state)


@pytest.mark.parametrize("name", ["shaped-contribution", "basic_plus-contribution"])
def test_fossils_earn_their_joint_gain_every_epoch(name):
    part = "drip" if "plus" in name else "attribution"
    fraction = RewardConfig().drip_fraction if "plus" in name else 1.0
    credit = 0.0 if "plus" in name else 0.2 * 3.0 * (GAMMA - 1)
    capped = paid(name, host(30.0, 30.0, 30.0, gain=30.0))
    assert capped.components[part] == pytest.approx(fraction * 0.15 * 3.0 + credit)
    assert capped.notes == (CAPPED,)
    freely = paid(name, host(30.0, 30.0, 30.0))
    assert freely.components[part] == pytest.approx(fraction * 0.15 * 9.0 + 3 * credit)
    assert freely.notes == (UNCAPPED,)


def test_a_fossil_without_contribution_earns_no_terminal_bonus():
    done = host(30.0, 30.0, 30.0, gain=0.3, ended=EpisodeEnd.HORIZON)
    assert paid("shaped-contribution", done).components["terminal"] == pytest.approx(
        1.5 + 0.5 * 0.3
    )
    assert paid("simplified-contribution", done).components["terminal"] == pytest.approx(
        1.5 + 2 * 0.3
    )


@pytest.mark.parametrize("name", CONTRIBUTION)
def test_the_note_belongs_to_the_report_after_the_step(name):
    reward = build_reward(CONFIGS[name], gamma=GAMMA)
    known, unknown = host(30.0, 30.0, gain=30.0), host(30.0, 30.0)
    assert reward(unknown, WAIT, known).notes == (CAPPED,)
    assert reward(known, WAIT, unknown).notes == (UNCAPPED,)


@pytest.mark.parametrize("name", CONTRIBUTION)
def test_every_mode_notes_an_unmeasured_joint_gain(name):
    assert paid(name, host(30.0, 30.0)).notes == (UNCAPPED,)
    assert paid(name, host(30.0, 30.0, gain=90.0)).notes == ()
