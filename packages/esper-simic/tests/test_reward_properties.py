"""What holds in every mode and family, over any story that the lifecycle allows.

Each story is played once and rewarded in every mode, so an assertion names the mode it is about.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_leyline import EpisodeEnd, Op, RewardConfig, SeedStage
from esper_simic import build_reward
from esper_simic.rewards.loss import LOSS_CAP
from esper_simic.rewards.shaping import potential

from .episode_strategies import (
    CONFIGS,
    GAMMA,
    PENALTIES,
    blended,
    discounted,
    grown,
    loop_of_alphas,
    loop_of_germinations,
    random_episodes,
    rewards_of,
)
from .reports import actions, any_report, report
from .simulated_episodes import WAIT, Measured, SimulatedEpisode, at, germinate

PLAN = settings(max_examples=50, deadline=None)
LONG = settings(PLAN, max_examples=30)
"""For episodes of hundreds of epochs."""
SHAPED = {n: c for n, c in CONFIGS.items() if c.mode in {"shaped", "simplified", "escrow"}}
chances = st.randoms(use_true_random=False)


def parts_of(config: RewardConfig) -> set[str]:
    return set(build_reward(config, gamma=GAMMA).parts)


def test_every_mode_of_both_families_is_tested():
    assert {config.mode for config in CONFIGS.values()} == {
        "shaped",
        "simplified",
        "basic",
        "basic_plus",
        "sparse",
        "minimal",
        "escrow",
    }
    assert {config.family for config in CONFIGS.values()} == {"contribution", "loss"}
    assert {n for n, config in CONFIGS.items() if "shaping" in parts_of(config)} == set(SHAPED)


@PLAN
@given(st.lists(st.tuples(any_report(), actions, any_report()), min_size=1, max_size=3))
def test_rewards_of_any_report_are_finite_sums_of_their_parts(steps):
    for name, config in CONFIGS.items():
        reward = build_reward(config, gamma=GAMMA)
        for previous, action, current in steps:
            paid = reward(previous, action, current)
            assert all(math.isfinite(value) for value in paid.components.values()), name
            assert paid.total == math.fsum(paid.components.values()), name


@PLAN
@given(random_episodes(odd=True))
def test_rewards_of_any_episode_are_finite_and_have_the_same_parts(episode):
    for name, config in CONFIGS.items():
        parts = parts_of(config)
        for paid in rewards_of(episode, config):
            assert math.isfinite(paid.total), name
            assert set(paid.components) == parts, name


@pytest.mark.parametrize("size", [0, 1])
def test_the_reward_of_a_host_without_parameters_is_finite(size):
    episode = SimulatedEpisode(host_parameters=size, max_epochs=6)
    for action in (germinate(), *[WAIT] * 5):
        episode.step(action)
    assert episode.now.live_parameters > 0
    for name, config in CONFIGS.items():
        assert all(math.isfinite(paid.total) for paid in rewards_of(episode, config)), name


@PLAN
@given(any_report(), actions, any_report())
def test_penalties_of_any_report_are_never_positive(previous, action, current):
    for name, config in CONFIGS.items():
        paid = build_reward(config, gamma=GAMMA)(previous, action, current).components
        assert all(paid[part] <= 0 for part in PENALTIES if part in paid), name


@PLAN
@given(random_episodes(), st.data())
def test_shaping_of_consecutive_steps_telescopes(episode, data):
    last = len(episode.reports) - 1
    start = data.draw(st.integers(0, last - 1))
    end = data.draw(st.integers(start + 1, last))
    for name, config in SHAPED.items():
        paid = rewards_of(episode, config)[start:end]
        earned = sum(GAMMA**step * each.components["shaping"] for step, each in enumerate(paid))
        first, final = (potential(episode.reports[where], config) for where in (start, end))
        due = config.shaping_weight * (GAMMA ** (end - start) * final - first)
        assert earned == pytest.approx(due, abs=1e-9), name
        assert discounted(episode, config, part="shaping") == pytest.approx(0.0, abs=1e-9), name
        assert potential(episode.now, config) == 0, name


@PLAN
@given(random_episodes())
def test_progress_telescopes_from_the_first_loss_to_the_last(episode):
    if episode.now.ended is EpisodeEnd.GOVERNOR:
        episode.reports.pop()
        episode.actions.pop()
    if not episode.actions:
        return
    first, last = (min(where.val_loss, LOSS_CAP) for where in (episode.reports[1], episode.now))
    due = GAMMA ** (episode.now.max_epochs - 1) * (first - last)
    for name in ("shaped-loss", "basic-loss"):
        earned = discounted(episode, CONFIGS[name], part="progress")
        assert earned == pytest.approx(due, abs=1e-9), name


@PLAN
@given(random_episodes(), st.floats(0, 1))
def test_at_the_horizon_dripped_payments_equal_immediate_ones(episode, fraction):
    if episode.now.ended is EpisodeEnd.GOVERNOR:
        return
    dripping = CONFIGS["basic_plus-loss"].model_copy(update={"drip_fraction": fraction})
    earned = sum(discounted(episode, dripping, part=part) for part in ("progress", "drip"))
    due = discounted(episode, CONFIGS["basic-loss"], part="progress")
    assert earned == pytest.approx(due, abs=1e-9)


@PLAN
@given(random_episodes())
def test_the_committed_loss_is_of_the_last_epoch_without_a_trial(episode):
    first, last = episode.reports[1].val_loss, committed_loss(episode)
    earned = discounted(episode, CONFIGS["escrow-loss"], part="progress")
    due = GAMMA ** (episode.now.max_epochs - 1) * (first - last)
    assert earned == pytest.approx(due, abs=1e-9)
    share = max((first - last) / first, -1.0) if first else 0.0
    crashed = episode.now.ended is EpisodeEnd.GOVERNOR
    for name, weight in (("sparse-loss", 1.0), ("minimal-loss", 1.0), ("simplified-loss", 3.0)):
        ending = rewards_of(episode, CONFIGS[name])[-1].components["terminal"]
        assert ending == pytest.approx(-3.0 if crashed else weight * share), name


def committed_loss(episode: SimulatedEpisode) -> float:
    """Reads it off what the lifecycle knows of each validation, not off the reports."""
    epochs = list(
        zip([each.val_loss for each in episode.reports[1:]], episode.on_trial, strict=True)
    )
    last, tried = epochs[-1]
    if not (tried or episode.now.ended is EpisodeEnd.GOVERNOR):
        return last
    settled = [loss for loss, tried in epochs[:-1] if not tried]
    return max(settled[-1], last) if settled else last


@PLAN
@given(st.lists(st.floats(0, 14), min_size=1, max_size=8), st.lists(st.floats(0, 14), min_size=1))
def test_a_loop_of_the_loss_earns_no_more_than_waiting(past, inside):
    episode = SimulatedEpisode(max_epochs=80)
    for loss in past:
        episode.step(WAIT, Measured(loss=loss))
    since, still = len(episode.actions), episode.copy()
    for loss in [*inside[:40], past[-1]]:
        episode.step(WAIT, Measured(loss=loss))
        still.step(WAIT, Measured(loss=past[-1]))
    for name, config in CONFIGS.items():
        looped, waited = (discounted(each, config, since=since) for each in (episode, still))
        assert looped <= waited + 1e-9, name


@PLAN
@given(chances, st.integers(1, 25))
def test_a_loop_of_germinations_earns_nothing(chance, steps):
    episode = SimulatedEpisode(max_epochs=500)
    episode.step(WAIT, Measured(accuracy=chance.uniform(10, 90), loss=chance.uniform(0, 3)))
    loop_of_germinations(episode, chance, slots=(0, 1, 2), steps=steps)
    assert episode.now.seeds == episode.reports[1].seeds
    for name, config in CONFIGS.items():
        assert discounted(episode, config, since=1) <= 1e-9, name


@PLAN
@given(chances, st.floats(0, 60), st.integers(1, 25))
def test_a_loop_beside_a_fossil_earns_no_more_than_waiting(chance, contribution, steps):
    episode = grown(contribution=contribution, max_epochs=500)
    said = blended(contribution)
    for action in (at(Op.FOSSILIZE), *[WAIT] * 8):
        episode.step(action, said)
    since, loop, still = len(episode.actions), episode.copy(), episode.copy()
    loop_of_germinations(loop, chance, slots=(1, 2), steps=steps)
    for action in loop.actions[since:]:
        episode.step(action, said)
        still.step(WAIT, said)
    assert episode.now.seeds == still.now.seeds
    for name, config in CONFIGS.items():
        looped, waited = (discounted(each, config, since=since) for each in (episode, still))
        assert looped <= waited + 1e-9, name


@PLAN
@given(chances, st.floats(-40, 60), st.integers(1, 12))
def test_turning_alpha_down_and_up_earns_nothing(chance, contribution, steps):
    episode = grown(contribution=contribution, rest=8, max_epochs=500)
    since, still = len(episode.actions), episode.copy()
    loop_of_alphas(episode, chance, 0, steps)
    assert episode.stage() is SeedStage.HOLDING
    for _ in episode.actions[since:]:
        still.step(WAIT, blended(contribution))
    for name, config in CONFIGS.items():
        looped, waited = (discounted(each, config, since=since) for each in (episode, still))
        # Waiting earns nothing but what drips of the fall that growing the seed brought.
        assert looped <= (waited if name == "basic_plus-loss" else 0.0) + 1e-9, name


def to_the_end(episode: SimulatedEpisode, first, contribution: float) -> SimulatedEpisode:
    branch, action = episode.copy(), first
    while branch.now.ended is None:
        branch.step(action, blended(contribution))
        action = WAIT
    return branch


@LONG
@given(st.floats(0.1, 80), st.integers(0, 30), st.sampled_from([45, 150]))
def test_holding_for_ever_does_not_beat_committing(contribution, rest, horizon):
    episode = grown(contribution=contribution, rest=rest, max_epochs=horizon)
    held, committed = (
        to_the_end(episode, first, contribution) for first in (WAIT, at(Op.FOSSILIZE))
    )
    for name, priced in CONFIGS.items():
        # A loss may fall by less than the price of committing; in points nothing does.
        free = {"intervention_cost": 0.0} if priced.family == "loss" else {}
        config = priced.model_copy(update=free)
        kept, waited = discounted(committed, config), discounted(held, config)
        # To the plain loss nothing changes: it is as low with the seed held as with it kept.
        plain = name in {"basic-loss", "basic_plus-loss"}
        assert kept == pytest.approx(waited) if plain else kept > waited, name


@LONG
@given(st.floats(0.1, 80), st.integers(0, 20), st.integers(1, 20))
def test_delaying_fossilization_earns_nothing(contribution, rest, delay):
    episode = grown(contribution=contribution, rest=rest, max_epochs=60)
    later = episode.copy()
    for _ in range(delay):
        later.step(WAIT, blended(contribution))
    late, early = (to_the_end(each, at(Op.FOSSILIZE), contribution) for each in (later, episode))
    for name, priced in CONFIGS.items():
        # The price of the intervention is the one thing that gets cheaper by waiting.
        config = priced.model_copy(update={"intervention_cost": 0.0})
        assert discounted(early, config) >= discounted(late, config) - 1e-9, name


@PLAN
@given(random_episodes())
def test_no_step_of_any_episode_has_a_spike(episode):
    for name, config in CONFIGS.items():
        assert all(abs(paid.total) <= 15 for paid in rewards_of(episode, config)), name


@PLAN
@given(any_report(ended=EpisodeEnd.GOVERNOR))
def test_a_rollback_is_never_rewarded(current):
    for name, config in CONFIGS.items():
        paid = build_reward(config, gamma=GAMMA)(report(), WAIT, current).components
        assert paid["terminal"] <= -1, name
        earned = [paid.get(part, 0.0) for part in ("attribution", "drip", "progress")]
        assert all(value <= 0 for value in earned), name
