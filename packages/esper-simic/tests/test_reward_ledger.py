"""What a reward remembers belongs to one episode of one environment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from esper_leyline import EpisodeEnd, Op
from esper_simic import build_reward
from esper_simic.rewards.ledger import EpisodeLedger

from .episode_strategies import CONFIGS, GAMMA, grown, random_episodes, rewards_of
from .reports import report
from .simulated_episodes import WAIT, Measured, at

EPOCHS = 12
short = random_episodes(max_epochs=EPOCHS)
REMEMBERING = (
    "escrow-contribution",
    "escrow-loss",
    "basic_plus-loss",
    "simplified-loss",
    "sparse-loss",
    "minimal-loss",
)
every_memory = pytest.mark.parametrize("name", REMEMBERING)


@settings(max_examples=25, deadline=None)
@given(short, short, short)
def test_environments_and_episodes_are_independent(first, second, third):
    """One reward for two environments side by side, and another episode after the first."""
    for name in REMEMBERING:
        apart = [rewards_of(episode, CONFIGS[name]) for episode in (first, second, third)]
        reward = build_reward(CONFIGS[name], gamma=GAMMA)
        together = [[], [], []]
        for index in range(EPOCHS):
            for environment, episode in enumerate((first, second)):
                together[environment] += step(reward, episode, index, environment)
        for index in range(EPOCHS):
            together[2] += step(reward, third, index, 0)
        assert together == apart, name


def step(reward, episode, index, environment):
    """Pays for one step as if it were of another environment, while the episode goes on."""
    if index >= len(episode.actions):
        return []
    previous, current = (
        replace(each, environment=environment) for each in episode.reports[index : index + 2]
    )
    return [reward(previous, episode.actions[index], current)]


@every_memory
def test_an_interrupted_round_leaves_no_entry(name):
    reward = build_reward(CONFIGS[name], gamma=GAMMA)
    broken = grown(contribution=40.0, rest=3, max_epochs=20)
    assert broken.now.ended is None
    for index in range(len(broken.actions)):
        step(reward, broken, index, 0)
    episode = finished(contribution=10.0)
    paid = [
        each for index in range(len(episode.actions)) for each in step(reward, episode, index, 0)
    ]
    assert paid == rewards_of(episode, CONFIGS[name])


@every_memory
def test_an_entry_lasts_for_an_episode(name):
    """Its last step alone is not paid as the last of all of them is."""
    episode = finished(contribution=40.0)
    (alone,) = step(build_reward(CONFIGS[name], gamma=GAMMA), episode, len(episode.actions) - 1, 0)
    assert alone != rewards_of(episode, CONFIGS[name])[-1]


def finished(*, contribution):
    episode = grown(contribution=contribution, rest=3, max_epochs=20)
    while episode.now.epoch < 19:
        episode.step(WAIT, Measured(loss=1.0 - contribution / 100, contributions={"r0c0": 10.0}))
    episode.step(at(Op.FOSSILIZE), Measured(loss=0.5, contributions={"r0c0": contribution}))
    return episode


def test_an_entry_is_found_by_the_next_step_only():
    memory, seen = EpisodeLedger[str](), report(environment=2, rng_seed=7, epoch=4)
    assert memory.get(seen) is None
    memory.put(seen, "kept")
    assert memory.get(replace(seen, val_loss=9.0)) == "kept"
    for other in ({"environment": 1}, {"rng_seed": 8}, {"epoch": 5}, {"epoch": 0}):
        assert memory.get(replace(seen, **other)) is None, other
    memory.put(replace(seen, epoch=5, ended=EpisodeEnd.HORIZON), "over")
    assert memory.get(seen) is None
    assert memory.get(replace(seen, epoch=5)) is None
