"""Every parameter of the reward does what it says, in every mode that has the part it weighs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings

from esper_leyline import EpisodeEnd, Op, RewardConfig, SeedStage, parse_config
from esper_simic import SimicError, build_reward

from .episode_strategies import CONFIGS, GAMMA, random_episodes, rewards_of
from .reports import act, report, seed
from .simulated_episodes import WAIT

RENTED = [name for name, config in CONFIGS.items() if config.mode != "simplified"]
DENSE = [name for name, config in CONFIGS.items() if config.mode in {"shaped", "escrow"}]
FOSSIL = seed(SeedStage.FOSSILIZED, 10.0, parameters=500, alpha=1.0)


def paid(name, previous, current, action=WAIT, **changes):
    config = CONFIGS[name].model_copy(update=changes)
    return build_reward(config, gamma=GAMMA)(previous, action, current).components


def parts_of(config):
    return tuple(build_reward(config, gamma=GAMMA).parts)


def rent(name, grown, **changes):
    state = report(live_parameters=grown, ended=EpisodeEnd.HORIZON)
    return paid(name, report(), state, **changes)["rent"]


def test_the_flat_keys_of_the_reference_reach_the_reward():
    written = {
        "reward_mode": "basic_plus",
        "reward_family": "contribution",
        "param_budget": 100,
        "param_penalty_weight": 0.5,
        "rent_host_params_floor": 4000,
        "drip_fraction": 0.25,
    }
    reward = build_reward(parse_config(written).reward, gamma=GAMMA)
    after = report(FOSSIL, epoch=20, fossil_parameters=150)
    assert reward(report(), WAIT, after).components == {
        "attribution": pytest.approx(0.75 * 0.15 + 0.2 * GAMMA),
        "drip": pytest.approx(0.25 * 0.15),
        "rent": pytest.approx(-0.05 * math.log1p(150 / 4000) - 0.5 * 0.5),
        "terminal": 0.0,
    }


@pytest.mark.parametrize("name", RENTED)
def test_parameters_beyond_the_budget_are_charged_by_their_weight(name):
    within, beyond = rent(name, 1000), rent(name, 1000, param_budget=400)
    assert beyond - within == pytest.approx(-0.1 * 1.5)
    heavy = rent(name, 1000, param_budget=400, param_penalty_weight=2.0)
    assert heavy - within == pytest.approx(-2 * 1.5)
    assert rent(name, 1000, param_budget=400, param_penalty_weight=0.0) == within
    assert rent(name, 10**9, param_budget=1) == pytest.approx(-0.5 - 0.1 * 5)


@pytest.mark.parametrize("name", RENTED)
def test_a_floor_of_parameters_limits_the_rent_of_small_hosts(name):
    assert rent(name, 3000) == pytest.approx(-0.05 * math.log(4))
    assert rent(name, 3000, rent_host_params_floor=3000) == pytest.approx(-0.05 * math.log(2))
    assert rent(name, 3000, rent_weight=0.2, rent_cap=0.1) == pytest.approx(-0.1)


@pytest.mark.parametrize("name", DENSE)
def test_the_floor_and_its_weight_count_in_the_alpha_shock_too(name):
    state = report(FOSSIL)
    assert paid(name, report(), state)["alpha_shock"] == pytest.approx(-0.05 * 0.5)
    eased = paid(name, report(), state, rent_host_params_floor=5000)["alpha_shock"]
    assert eased == pytest.approx(-0.05 * 0.1)
    assert paid(name, report(), state, alpha_shock_weight=0.2)["alpha_shock"] == pytest.approx(-0.1)


@pytest.mark.parametrize("name", [n for n, c in CONFIGS.items() if c.mode != "basic_plus"])
@settings(max_examples=10, deadline=None)
@given(random_episodes(max_epochs=10))
def test_the_drip_fraction_has_no_effect_in_other_modes(name, episode):
    other = CONFIGS[name].model_copy(update={"drip_fraction": 0.1})
    assert rewards_of(episode, other) == rewards_of(episode, CONFIGS[name])


WEIGHTS = {
    "shaping_weight": {"shaping"},
    "attribution_weight": {"attribution", "drip"},
    "loss_weight": {"progress", "drip"},
    "alpha_shock_weight": {"alpha_shock"},
    "warning_weight": {"warnings"},
    "intervention_cost": {"intervention"},
}


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_weight_scales_its_own_part_only(weight):
    small = seed(SeedStage.HOLDING, 8.0, parameters=50, alpha=1.0, age=3)
    fossil = seed(SeedStage.FOSSILIZED, 8.0, slot="r0c1", alpha=1.0)
    before, after = report(small, fossil, val_loss=2.0), report(fossil, val_loss=1.5)
    family = {"attribution_weight": "contribution", "loss_weight": "loss"}.get(weight)
    moved, having = set(), set()
    for name, config in CONFIGS.items():
        parts = WEIGHTS[weight] if family in (None, config.family) else set()
        doubled = 2 * getattr(config, weight)
        plain = paid(name, before, after, act(Op.PRUNE))
        weighed = paid(name, before, after, act(Op.PRUNE), **{weight: doubled})
        assert weighed == {k: 2 * v if k in parts else v for k, v in plain.items()}, name
        moved |= {name} if weighed != plain else set()
        having |= {name} if parts & set(parts_of(config)) else set()
    # Without a counterfactual it is unknown whether the pruned seed was of use, and a single
    # step does not show the loss before the seed was tried.
    unknown = {"warning_weight": {"shaped-loss", "escrow-loss"}, "loss_weight": {"escrow-loss"}}
    assert moved == having - unknown.get(weight, set())


@pytest.mark.parametrize(
    ("name", "weight", "worth"),
    [
        ("shaped-contribution", "terminal_accuracy_weight", 0.5),
        ("shaped-contribution", "terminal_fossil_bonus", 1.0),
        ("escrow-contribution", "terminal_fossil_bonus", 1.0),
        ("shaped-loss", "terminal_accuracy_weight", 0.5),
        ("escrow-loss", "terminal_accuracy_weight", 0.5),
        ("simplified-loss", "terminal_accuracy_weight", 0.25),
        ("simplified-contribution", "terminal_accuracy_weight", 0.5),
        ("simplified-contribution", "simplified_fossil_bonus", 1.0),
    ],
)
def test_the_weights_of_the_terminal_reward(name, weight, worth):
    done = report(FOSSIL, val_loss=1.5, ended=EpisodeEnd.HORIZON)
    before = report(val_loss=2.0)
    low, high = (paid(name, before, done, **{weight: w})["terminal"] for w in (0.0, 4.0))
    assert high - low == pytest.approx(4 * worth)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_penalty_of_a_crash_is_the_accuracy_weight_and_at_least_one(name):
    crashed = report(FOSSIL, ended=EpisodeEnd.GOVERNOR)
    costs = [
        paid(name, report(), crashed, terminal_accuracy_weight=weight)["terminal"]
        for weight in (0.0, 0.5, 5.0)
    ]
    assert costs == [-1.0, -1.0, -5.0]


@pytest.mark.parametrize(
    ("name", "part"),
    [(name, part) for name, config in CONFIGS.items() for part in parts_of(config)],
)
def test_each_part_can_be_ablated(name, part):
    before = report(seed(SeedStage.HOLDING, 8.0, parameters=50, alpha=1.0, age=3))
    whole = paid(name, before, report(), act(Op.PRUNE))
    without = paid(name, before, report(), act(Op.PRUNE), ablate=(part,))
    assert without == {key: value for key, value in whole.items() if key != part}


def test_several_parts_can_be_ablated_together():
    config = RewardConfig(ablate=("shaping", "rent", "alpha_shock", "warnings", "rent"))
    parts = build_reward(config, gamma=GAMMA)(report(), WAIT, report()).components
    assert set(parts) == {"attribution", "intervention", "terminal"}


def test_ablating_an_unknown_part_is_a_one_line_error():
    with pytest.raises(SimicError) as caught:
        build_reward(RewardConfig(mode="sparse", ablate=("shaping",)), gamma=GAMMA)
    assert str(caught.value) == (
        "reward.ablate names 'shaping', which mode 'sparse' of family 'contribution' does not "
        "have; its parts: rent, terminal"
    )


def test_ablating_every_part_is_a_one_line_error():
    with pytest.raises(SimicError, match="leaves nothing of mode 'sparse'; keep one of its parts"):
        build_reward(RewardConfig(mode="sparse", ablate=("rent", "terminal")), gamma=GAMMA)
