"""Each mode by hand; ``shaped`` and the family ``loss`` have tests of their own."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import get_args

import pytest

from esper_leyline import (
    CounterfactualConfig,
    EpisodeEnd,
    Flag,
    Measurement,
    Op,
    RewardBreakdown,
    RewardConfig,
    SeedStage,
)
from esper_leyline.config.reward import RewardFamily
from esper_simic import REWARDS, SimicError, build_reward, reward_modes
from esper_simic.rewards.plugins import ADDED_REWARDS

from .episode_strategies import CONFIGS, CONTRIBUTION, GAMMA
from .reports import act, report, seed
from .simulated_episodes import WAIT

OVER = {"ended": EpisodeEnd.HORIZON}
CRASHED = {"ended": EpisodeEnd.GOVERNOR}
FOSSIL = seed(SeedStage.FOSSILIZED, 10.0, parameters=500, epochs_in_stage=9, alpha=1.0)
HOLDING = replace(FOSSIL, stage=SeedStage.HOLDING)


def paid(mode, previous, current, action=WAIT, **weights):
    config = RewardConfig(mode=mode, **weights)
    return build_reward(config, gamma=GAMMA)(previous, action, current).components


def test_every_mode_is_offered_in_both_families_and_described():
    modes = list(dict.fromkeys(mode for mode, _ in REWARDS))
    assert set(REWARDS) == set(itertools.product(modes, get_args(RewardFamily)))
    assert len(REWARDS) == 14
    described = RewardConfig.model_fields["mode"].description
    assert described == f"{', '.join(modes)} or a plugin's."


def test_an_unknown_mode_is_named():
    with pytest.raises(SimicError, match=r"unknown reward mode 'shapd' \(did you mean 'shaped'"):
        build_reward(RewardConfig(mode="shapd"), gamma=GAMMA)


class Mine:
    """A reward as a plugin writes it."""

    requires = frozenset({Measurement.COMMITTED})

    def __init__(self, config, gamma):
        self.mode, self.gamma = config.mode, gamma

    def __call__(self, previous, action, current):
        return RewardBreakdown(components={"mine": self.gamma})


@pytest.fixture
def added():
    ADDED_REWARDS.register("mine", Mine)
    yield
    ADDED_REWARDS.unregister("mine")


@pytest.mark.usefixtures("added")
def test_a_mode_of_a_plugin_is_built_from_the_configuration_and_gamma():
    reward = build_reward(RewardConfig(mode="mine", family="loss"), gamma=0.5)
    assert (reward.mode, reward.gamma, reward.requires) == ("mine", 0.5, Mine.requires)
    assert reward_modes()[-1] == "mine"
    with pytest.raises(SimicError, match="'mine' is a plugin's; leave it empty"):
        build_reward(RewardConfig(mode="mine", ablate=("rent",)), gamma=0.5)


def test_a_plugin_that_builds_no_reward_is_refused():
    ADDED_REWARDS.register("half", lambda config, gamma: lambda *_: None)
    try:
        with pytest.raises(SimicError, match="'half' builds a function; return a callable whose"):
            build_reward(RewardConfig(mode="half"), gamma=0.5)
    finally:
        ADDED_REWARDS.unregister("half")


def test_a_plugin_cannot_take_the_name_of_a_built_in_mode():
    ADDED_REWARDS.register("sparse", lambda config, gamma: None)
    try:
        with pytest.raises(SimicError, match="called 'sparse', which is built in; uninstall it"):
            build_reward(RewardConfig(mode="sparse"), gamma=0.5)
    finally:
        ADDED_REWARDS.unregister("sparse")


def test_the_parts_of_each_mode():
    parts = {name: tuple(build_reward(c, gamma=GAMMA).parts) for name, c in CONFIGS.items()}
    dense = ("rent", "alpha_shock", "warnings", "intervention", "terminal")
    assert parts == {
        "shaped-contribution": ("shaping", "attribution", *dense),
        "shaped-loss": ("shaping", "progress", *dense),
        "simplified-contribution": ("shaping", "intervention", "terminal"),
        "simplified-loss": ("shaping", "intervention", "terminal"),
        "basic-contribution": ("attribution", "rent", "terminal"),
        "basic-loss": ("progress", "rent", "terminal"),
        "basic_plus-contribution": ("attribution", "drip", "rent", "terminal"),
        "basic_plus-loss": ("progress", "drip", "rent", "terminal"),
        "sparse-contribution": ("rent", "terminal"),
        "sparse-loss": ("rent", "terminal"),
        "minimal-contribution": ("rent", "warnings", "terminal"),
        "minimal-loss": ("rent", "warnings", "terminal"),
        "escrow-contribution": ("shaping", "attribution", *dense),
        "escrow-loss": ("shaping", "progress", *dense),
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_a_reward_says_whether_it_needs_the_committed_accuracy(name):
    def earned(accuracy):
        alone = CounterfactualConfig(active=("r0c0",), accuracy=accuracy)
        live = replace(HOLDING, slot="r0c1", contribution=None)
        over = report(FOSSIL, live, counterfactuals=(alone,), **OVER)
        return build_reward(CONFIGS[name], gamma=GAMMA)(report(), WAIT, over).total

    reward = build_reward(CONFIGS[name], gamma=GAMMA)
    assert (earned(20.0) != earned(40.0)) is (Measurement.COMMITTED in reward.requires)


def test_simplified_by_hand():
    going = paid("simplified", report(HOLDING), report(FOSSIL), act(Op.FOSSILIZE))
    assert going == {
        "shaping": pytest.approx(0.3 * (GAMMA * 8.0 - 7.5)),
        "intervention": -0.01,
        "terminal": 0.0,
    }
    weak = seed(SeedStage.FOSSILIZED, 0.25, slot="r0c1")
    harmful = seed(SeedStage.FOSSILIZED, -9.0, slot="r0c2")
    done = paid("simplified", report(), report(FOSSIL, weak, harmful, val_accuracy=80.0, **OVER))
    assert done["terminal"] == pytest.approx(3 * 0.8 + 2 * 1.25)
    assert paid("simplified", report(), report(FOSSIL, **CRASHED))["terminal"] == -3.0
    for accuracy, share in ((150.0, 1.0), (-20.0, 0.0), (math.inf, 0.0), (None, 0.0)):
        odd = report(val_accuracy=accuracy, **OVER)
        assert paid("simplified", report(), odd)["terminal"] == pytest.approx(3 * share)


RENT = 0.05 * math.log(1.5)


def test_basic_by_hand():
    # Epoch 5 of 20: sixteen epochs are to be paid for, this one included.
    before, after = (
        report(HOLDING, live_parameters=500),
        report(FOSSIL, epoch=5, fossil_parameters=500),
    )
    credit = 0.2 * (GAMMA - 1)
    assert paid("basic", before, after, act(Op.FOSSILIZE)) == {
        "attribution": pytest.approx(0.15 * 16 + credit),
        "rent": pytest.approx(-RENT),
        "terminal": 0.0,
    }
    later = replace(after, epoch=6)
    assert paid("basic", after, later)["attribution"] == pytest.approx(credit)
    assert paid("basic", before, replace(after, **CRASHED))["terminal"] == -3.0
    assert paid("basic", before, replace(after, **OVER))["terminal"] == 0.0


def test_a_longer_episode_spreads_the_same_reward_for_fossilizing():
    first, last = (
        paid("basic", report(), report(FOSSIL, epoch=epoch, max_epochs=200))["attribution"]
        for epoch in (1, 200)
    )
    assert first == pytest.approx(0.15 * 20 + 0.2 * GAMMA)
    assert last == pytest.approx(0.15 * 0.1 + 0.2 * GAMMA)


@pytest.mark.parametrize("epoch", [20, 21, 40])
def test_basic_charges_for_a_harmful_fossil_however_late(epoch):
    bad = report(seed(SeedStage.FOSSILIZED, -10.0), epoch=epoch)
    assert paid("basic", report(), bad)["attribution"] == pytest.approx(-0.15)


@pytest.mark.parametrize("fraction", [0.0, 0.7, 1.0])
def test_basic_plus_by_hand(fraction):
    before, after = report(HOLDING), report(FOSSIL, epoch=5)
    credit = 0.2 * (GAMMA - 1)
    now = paid("basic_plus", before, after, act(Op.FOSSILIZE), drip_fraction=fraction)
    assert now["attribution"] == pytest.approx((1 - fraction) * 0.15 * 16 + credit)
    assert now["drip"] == pytest.approx(fraction * 0.15)
    fading = report(replace(FOSSIL, contribution=-20.0), epoch=6)
    then = paid("basic_plus", after, fading, drip_fraction=fraction)
    assert then["attribution"] == pytest.approx(-0.2)
    assert then["drip"] == pytest.approx(fraction * -0.3)
    soaring = report(replace(FOSSIL, contribution=99.0))
    assert paid("basic_plus", soaring, soaring, drip_fraction=fraction)["drip"] == pytest.approx(
        fraction * 0.45
    )


@pytest.mark.parametrize("horizon", [20, 150])
def test_a_steady_fossil_earns_the_same_for_any_drip_fraction(horizon):
    path = [
        report(FOSSIL if epoch >= 7 else HOLDING, epoch=epoch, max_epochs=horizon)
        for epoch in range(5, horizon + 1)
    ]
    earned = [
        sum(
            sum(paid("basic_plus", *pair, drip_fraction=fraction).values())
            for pair in itertools.pairwise(path)
        )
        for fraction in (0.0, 0.3, 0.7, 1.0)
    ]
    assert earned == pytest.approx([earned[0]] * 4)


def test_sparse_by_hand():
    grown = {"fossil_parameters": 300, "live_parameters": 200}
    assert paid("sparse", report(), report(FOSSIL, **grown)) == {"rent": 0.0, "terminal": 0.0}
    done = report(FOSSIL, val_accuracy=80.0, **grown, **OVER)
    assert paid("sparse", report(), done) == {
        "rent": pytest.approx(-RENT),
        "terminal": pytest.approx(0.8),
    }
    # Rent is charged once, at the end, however long the episode was.
    assert paid("sparse", report(), replace(done, max_epochs=150))["rent"] == pytest.approx(-RENT)
    crashed = paid("sparse", report(), replace(done, **CRASHED))
    assert crashed == {"rent": pytest.approx(-RENT), "terminal": -3.0}


def test_sparse_rewards_the_committed_accuracy_only():
    live = seed(SeedStage.HOLDING, 30.0, slot="r0c1", alpha=1.0)
    done = report(FOSSIL, live, val_accuracy=80.0, **OVER)
    assert paid("sparse", report(), done)["terminal"] == pytest.approx(0.5)
    # Where the fossils alone were validated, that figure counts.
    alone = CounterfactualConfig(active=("r0c0",), accuracy=46.0)
    measured = replace(done, counterfactuals=(replace(alone, active=("r0c0", "r0c1")), alone))
    assert paid("sparse", report(), measured)["terminal"] == pytest.approx(0.46)
    nothing = report(replace(live, slot="r0c0"), val_accuracy=80.0, **OVER)
    bare = replace(nothing, counterfactuals=(replace(alone, active=(), accuracy=44.0),))
    assert paid("sparse", report(), bare)["terminal"] == pytest.approx(0.44)


def test_sparse_subtracts_the_contributions_of_uncommitted_seeds_only():
    """Neither harm that would go with them, nor what a seed out of play once contributed."""
    for live in (
        seed(SeedStage.HOLDING, -30.0, slot="r0c1", alpha=1.0),
        seed(SeedStage.TRAINING, 30.0, slot="r0c1"),
        seed(SeedStage.HOLDING, None, slot="r0c1", alpha=1.0),
    ):
        done = report(FOSSIL, live, val_accuracy=60.0, **OVER)
        assert paid("sparse", report(), done)["terminal"] == pytest.approx(0.6)
        # What was validated without the fossil too is another host.
        bare = replace(done, counterfactuals=(CounterfactualConfig(active=(), accuracy=9.0),))
        assert paid("sparse", report(), bare)["terminal"] == pytest.approx(0.6)


@pytest.mark.parametrize("family", get_args(RewardFamily))
@pytest.mark.parametrize(
    ("stage", "age", "accepted", "due"),
    [
        (SeedStage.TRAINING, 4, True, -0.1),
        (SeedStage.TRAINING, 4, None, -0.1),
        (SeedStage.TRAINING, 5, True, 0.0),
        (SeedStage.TRAINING, 4, False, 0.0),
        (SeedStage.DORMANT, 0, True, 0.0),
    ],
)
def test_minimal_charges_for_pruning_early(stage, age, accepted, due, family):
    before = report(seed(stage, age=age))
    after = report(action_succeeded=accepted)
    charged = paid("minimal", before, after, act(Op.PRUNE), family=family)
    assert charged == {"rent": 0.0, "warnings": due, "terminal": 0.0}
    for other in (act(Op.PRUNE, slot=9), act(Op.WAIT)):
        assert paid("minimal", before, after, other, family=family)["warnings"] == 0


def test_minimal_has_the_terminal_reward_of_sparse():
    done = report(FOSSIL, val_accuracy=80.0, fossil_parameters=500, **OVER)
    minimal, sparse = (paid(mode, report(), done) for mode in ("minimal", "sparse"))
    assert minimal == {**sparse, "warnings": 0.0}


@pytest.mark.parametrize("name", CONTRIBUTION)
def test_an_inflated_contribution_is_flagged_in_every_mode_and_earns_nothing(name):
    config = CONFIGS[name]
    before = report(replace(FOSSIL, contribution=5.0), val_accuracy=60.0)
    after = report(replace(FOSSIL, contribution=25.0), val_accuracy=50.0)
    inflated = build_reward(config, gamma=GAMMA)(before, WAIT, after)
    assert inflated.flags == (Flag(kind="inflated_contribution", slot="r0c0"),)
    assert all(inflated.components.get(part, 0) <= 0 for part in ("attribution", "drip"))
    honest = build_reward(config, gamma=GAMMA)(before, WAIT, replace(after, val_accuracy=60.0))
    assert honest.flags == ()
    if "attribution" in honest.components:
        assert honest.total > inflated.total


@pytest.mark.parametrize("mode", ["simplified", "escrow"])
def test_an_inflated_fossil_at_the_end_earns_no_bonus(mode):
    before = report(replace(FOSSIL, contribution=5.0), val_accuracy=60.0)
    after = report(replace(FOSSIL, contribution=25.0), val_accuracy=50.0, **OVER)
    assert paid(mode, before, after)["terminal"] == pytest.approx(3 * 0.5)
