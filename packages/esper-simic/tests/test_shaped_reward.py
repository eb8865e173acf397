from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import EpisodeEnd, Flag, Op, RewardConfig, SeedReport, SeedStage
from esper_simic import build_reward
from esper_simic.rewards.shaping import potential

from .reports import SLOTS, act, actions, any_report, report, seed

GAMMA = 0.995
CONFIG = RewardConfig()
REWARD = build_reward(CONFIG, gamma=GAMMA)
COMPONENTS = {
    "shaping",
    "attribution",
    "rent",
    "alpha_shock",
    "warnings",
    "intervention",
    "terminal",
}
WAIT = act(Op.WAIT)
BLENDED = (SeedStage.BLENDING, SeedStage.HOLDING, SeedStage.FOSSILIZED)


def discounted(path, actions_taken, names=COMPONENTS):
    """Sums the named components along reports, one action between each two."""
    total = 0.0
    for step, action in enumerate(actions_taken):
        parts = REWARD(path[step], action, path[step + 1]).components
        total += GAMMA**step * sum(parts[name] for name in names)
    return total


def test_the_reward_is_the_sum_of_its_seven_components():
    paid = REWARD(report(), WAIT, report())
    assert set(paid.components) == COMPONENTS
    assert paid.total == pytest.approx(sum(paid.components.values()))


@given(any_report(), actions, any_report())
def test_rewards_of_any_report_are_finite(previous, action, current):
    paid = REWARD(previous, action, current)
    assert all(math.isfinite(value) for value in paid.components.values())


@given(any_report(), actions, any_report())
def test_penalties_are_never_positive(previous, action, current):
    paid = REWARD(previous, action, current).components
    for name in ("rent", "alpha_shock", "warnings", "intervention"):
        assert paid[name] <= 0


@given(st.lists(any_report(ended=None), min_size=2, max_size=12), st.booleans())
def test_shaping_telescopes_over_any_trajectory(path, finishes):
    if finishes:
        path[-1] = replace(path[-1], ended=EpisodeEnd.HORIZON)
    steps = len(path) - 1
    first, last = potential(path[0], CONFIG), potential(path[-1], CONFIG)
    earned = discounted(path, [WAIT] * steps, ["shaping"])
    assert last == 0 or not finishes
    assert earned == pytest.approx(
        CONFIG.shaping_weight * (GAMMA**steps * last - first), rel=1e-12, abs=1e-12
    )


@pytest.mark.parametrize(
    ("stage", "epochs", "worth"),
    [
        (SeedStage.DORMANT, 9, 0.0),
        (SeedStage.GERMINATED, 0, 1.0),
        (SeedStage.TRAINING, 1, 2.3),
        (SeedStage.BLENDING, 2, 4.1),
        (SeedStage.HOLDING, 0, 5.5),
        (SeedStage.FOSSILIZED, 100, 8.0),
        (SeedStage.PRUNED, 3, 0.0),
        (SeedStage.EMBARGOED, 3, 0.0),
    ],
)
def test_potential_of_a_stage(stage, epochs, worth):
    state = report(seed(stage, epochs_in_stage=epochs))
    assert potential(state, CONFIG) == pytest.approx(worth)
    assert potential(replace(state, ended=EpisodeEnd.HORIZON), CONFIG) == 0


def after_fossilizing(state):
    return replace(state, seeds=tuple(replace(s, stage=SeedStage.FOSSILIZED) for s in state.seeds))


@given(
    st.floats(min_value=0.01, max_value=80),
    st.integers(min_value=1, max_value=150),
    st.sampled_from([20, 150]),
)
def test_committing_beats_holding_for_ever(contribution, steps, horizon):
    holding = replace(
        report(max_epochs=horizon),
        seeds=(seed(SeedStage.HOLDING, contribution, alpha=1.0, parameters=500),),
        live_parameters=500,
    )
    fossil = replace(after_fossilizing(holding), live_parameters=0, fossil_parameters=500)
    end = {"ended": EpisodeEnd.HORIZON}
    held = [holding] * steps + [replace(holding, **end)]
    committed = [holding] + [fossil] * (steps - 1) + [replace(fossil, **end)]
    waits = [WAIT] * (steps - 1)
    assert discounted(committed, [act(Op.FOSSILIZE), *waits]) > discounted(held, [WAIT, *waits])


@given(st.data(), st.integers(min_value=2, max_value=15))
def test_germinating_only_to_prune_earns_nothing(data, length):
    live = data.draw(
        st.lists(
            st.builds(
                seed,
                st.sampled_from(
                    [SeedStage.GERMINATED, SeedStage.TRAINING, *BLENDED[:2]],
                ),
                st.one_of(st.none(), st.floats(min_value=-60, max_value=60)),
                alpha=st.floats(min_value=0, max_value=1),
                epochs_in_stage=st.integers(min_value=0, max_value=9),
                parameters=st.just(300),
            ),
            min_size=length,
            max_size=length,
        )
    )
    accuracies = data.draw(st.lists(st.floats(10, 95), min_size=length, max_size=length))
    inside = [
        report(one, val_accuracy=accuracy, live_parameters=300)
        for one, accuracy in zip(live, accuracies, strict=True)
    ]
    path = [report(), *inside, report()]
    taken = [act(Op.GERMINATE), *[WAIT] * (length - 1), act(Op.PRUNE)]
    assert discounted(path, taken) < 0


@given(
    st.floats(min_value=-60, max_value=60),
    st.floats(min_value=-60, max_value=60),
    st.integers(min_value=2, max_value=8),
)
def test_turning_alpha_down_and_up_again_earns_nothing(full, half, epochs):
    up = report(seed(SeedStage.HOLDING, full, alpha=1.0, parameters=300), live_parameters=300)
    down = report(seed(SeedStage.BLENDING, half, alpha=0.5, parameters=300), live_parameters=300)
    path = [up, *[down] * (epochs - 1), up]
    turn = act(Op.SET_ALPHA_TARGET)
    assert discounted(path, [turn, *[WAIT] * (epochs - 2), turn]) < 0


def attribution(before: SeedReport, after: SeedReport, **facts):
    current = {"val_accuracy": facts.pop("val_accuracy", 50.0), **facts}
    return REWARD(report(before), WAIT, report(after, **current)).components["attribution"]


def test_only_measured_contributions_are_rewarded():
    fossil = seed(SeedStage.FOSSILIZED)
    assert attribution(fossil, fossil) == 0
    unknown = replace(fossil, contribution=math.nan)
    assert attribution(unknown, unknown) == 0


def test_improvement_since_germination_is_not_rewarded():
    fossil = seed(SeedStage.FOSSILIZED, 0.0, stage_improvement=30.0)
    assert attribution(fossil, fossil, val_accuracy=90.0) == 0


def test_reward_of_a_fossil_by_hand():
    kept = seed(SeedStage.FOSSILIZED, 20.0)
    credit = 0.2 * 2.0 * (GAMMA - 1)
    assert attribution(kept, kept) == pytest.approx(0.15 * 2.0 + credit)
    assert attribution(kept, kept, max_epochs=200) == pytest.approx(0.015 * 2.0 + credit)
    huge = seed(SeedStage.FOSSILIZED, 99.0)
    assert attribution(huge, huge) == pytest.approx(0.15 * 3.0 + 0.2 * 3.0 * (GAMMA - 1))


def test_a_harmful_fossil_has_a_negative_reward():
    harmful = seed(SeedStage.FOSSILIZED, -10.0)
    assert attribution(harmful, harmful) == pytest.approx(-0.15)


def test_potential_credit_is_given_and_taken_back():
    none, some = seed(SeedStage.BLENDING, 0.0), seed(SeedStage.BLENDING, 10.0)
    assert attribution(none, some) == pytest.approx(0.2 * GAMMA)
    assert attribution(some, none) == pytest.approx(-0.2)
    assert attribution(some, replace(some, stage=SeedStage.PRUNED)) == pytest.approx(-0.2)


def test_credit_is_kept_at_the_horizon_and_lost_in_a_rollback():
    kept = seed(SeedStage.HOLDING, 10.0)
    assert attribution(kept, kept, ended=EpisodeEnd.HORIZON) == pytest.approx(0.2 * (GAMMA - 1))
    assert attribution(kept, kept, ended=EpisodeEnd.GOVERNOR) == pytest.approx(-0.2)


def test_an_inflated_contribution_is_flagged_and_not_rewarded():
    before = report(seed(SeedStage.BLENDING, 5.0), val_accuracy=60.0)
    after = report(seed(SeedStage.BLENDING, 25.0), val_accuracy=50.0)
    paid = REWARD(before, WAIT, after)
    assert paid.flags == (Flag(kind="inflated_contribution", slot="r0c0"),)
    assert paid.components["attribution"] == 0
    honest = REWARD(before, WAIT, replace(after, val_accuracy=60.0))
    assert honest.flags == ()
    assert honest.components["attribution"] > 0


@pytest.mark.parametrize(
    ("stage", "rise", "drop", "flagged"),
    [
        (SeedStage.BLENDING, 1.0, 2.0, True),
        (SeedStage.HOLDING, 1.0, 2.0, True),
        (SeedStage.FOSSILIZED, 1.0, 2.0, True),
        (SeedStage.TRAINING, 1.0, 2.0, False),
        (SeedStage.HOLDING, 0.75, 2.0, False),
        (SeedStage.HOLDING, 1.0, 1.75, False),
        (SeedStage.HOLDING, -1.0, 2.0, False),
        (SeedStage.HOLDING, 1.0, -2.0, False),
    ],
)
def test_contributions_are_flagged_as_inflated_by_their_rise_and_drop(stage, rise, drop, flagged):
    before = report(seed(stage, 5.0), val_accuracy=60.0)
    after = report(seed(stage, 5.0 + rise), val_accuracy=60.0 - drop)
    assert REWARD(before, WAIT, after).flags == (
        (Flag(kind="inflated_contribution", slot="r0c0"),) if flagged else ()
    )


def test_negative_rewards_of_an_inflated_contribution_remain():
    before = report(seed(SeedStage.FOSSILIZED, -20.0), val_accuracy=60.0)
    after = report(seed(SeedStage.FOSSILIZED, -10.0), val_accuracy=50.0)
    assert REWARD(before, WAIT, after).components["attribution"] < 0


def rent(**facts):
    return REWARD(report(), WAIT, report(**facts)).components["rent"]


def test_rent_by_hand():
    assert rent() == 0
    assert rent(fossil_parameters=600, live_parameters=400) == pytest.approx(-0.05 * math.log(2))
    assert rent(host_parameters=10, live_parameters=200) == pytest.approx(-0.05 * math.log(2))
    assert rent(max_epochs=40, live_parameters=1000) == pytest.approx(-0.025 * math.log(2))
    beyond = rent(host_parameters=1_000_000, live_parameters=1_000_000)
    assert beyond == pytest.approx(-0.05 * math.log(2) - 0.1)
    assert rent(host_parameters=0, live_parameters=10**12) == pytest.approx(-0.5 - 0.1 * 5)


def test_alpha_shock_by_hand():
    before = report(seed(SeedStage.HOLDING, alpha=1.0, parameters=500))
    pruned = REWARD(before, act(Op.PRUNE), report()).components["alpha_shock"]
    assert pruned == pytest.approx(-0.05 * 0.5)
    eased = report(seed(SeedStage.BLENDING, alpha=0.5, parameters=500))
    assert REWARD(before, WAIT, eased).components["alpha_shock"] == pytest.approx(-0.05 * 0.125)
    vast = report(seed(SeedStage.HOLDING, alpha=1.0, parameters=10**9))
    assert REWARD(vast, WAIT, report()).components["alpha_shock"] == pytest.approx(-0.5)
    # A slot that the report before leaves out was empty.
    unmentioned = REWARD(replace(report(), seeds=()), WAIT, before).components["alpha_shock"]
    assert unmentioned == pytest.approx(-0.05 * 0.5)


@pytest.mark.parametrize(
    ("alpha", "taken_for"), [(5.0, 1.0), (-5.0, 0.0), (math.nan, 0.0), (math.inf, 0.0)]
)
def test_alpha_is_clipped_to_0_and_1(alpha, taken_for):
    before = report(seed(SeedStage.HOLDING, alpha=alpha, parameters=500))
    shock = REWARD(before, WAIT, report()).components["alpha_shock"]
    assert shock == pytest.approx(-0.05 * 0.5 * taken_for)


def warnings(previous, action, current):
    return REWARD(previous, action, current).components["warnings"]


def test_mistakes_have_a_penalty():
    useful, useless = (report(seed(SeedStage.HOLDING, c)) for c in (8.0, 0.2))
    assert warnings(useful, act(Op.PRUNE), report()) == pytest.approx(-0.1)
    assert warnings(useless, act(Op.PRUNE), report()) == 0
    assert warnings(report(), act(Op.GERMINATE), report(action_succeeded=False)) == -0.1
    over = {"ended": EpisodeEnd.HORIZON}
    assert warnings(useful, WAIT, replace(useful, **over)) == pytest.approx(-0.1)
    fossil = report(seed(SeedStage.FOSSILIZED, 8.0), **over)
    assert warnings(useful, act(Op.FOSSILIZE), fossil) == 0
    going = report(seed(SeedStage.HOLDING, pruning=True), **over)
    assert warnings(useless, WAIT, going) == 0
    stages = (SeedStage.GERMINATED, SeedStage.BLENDING, SeedStage.HOLDING)
    left = [seed(stage, slot=s) for stage, s in zip(stages, SLOTS, strict=True)]
    assert warnings(useless, WAIT, report(*left, **over)) == pytest.approx(-0.3)
    clear, hardly = (report(seed(SeedStage.HOLDING, c)) for c in (1.0, 0.99))
    assert warnings(clear, act(Op.PRUNE), report()) == pytest.approx(-0.1)
    assert warnings(hardly, act(Op.PRUNE), report()) == 0


@pytest.mark.parametrize("op", Op)
def test_every_op_but_wait_costs_the_same(op):
    paid = REWARD(report(), act(op), report()).components["intervention"]
    assert paid == (0 if op is Op.WAIT else -0.01)


def terminal(current):
    return REWARD(report(), WAIT, current).components["terminal"]


def test_terminal_by_hand():
    fossils = [
        seed(SeedStage.FOSSILIZED, c, slot=s) for s, c in zip(SLOTS, (5.0, 0.5, -5.0), strict=True)
    ]
    done = report(*fossils, val_accuracy=80.0, ended=EpisodeEnd.HORIZON)
    assert terminal(done) == pytest.approx(3 * 0.8 + 0.5 * 1.5)
    assert terminal(replace(done, ended=None)) == 0
    assert terminal(replace(done, ended=EpisodeEnd.GOVERNOR)) == -3
    assert terminal(replace(done, val_accuracy=None)) == pytest.approx(0.75)


@given(any_report(ended=EpisodeEnd.GOVERNOR))
def test_a_rollback_is_never_rewarded(current):
    paid = REWARD(report(), WAIT, current)
    assert paid.components["terminal"] <= -1
    assert paid.components["attribution"] <= 0
