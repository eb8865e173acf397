"""What a reward remembers belongs to one episode of one environment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from esper_leyline import EpisodeEnd, Op
from esper_simic import build_reward
from esper_simic.rewards.ledger import EpisodeLedger

from .lives import WAIT, Measured, at
from .reports import report
from .stories import CONFIGS, GAMMA, grown, lives, rewards_of

EPOCHS = 12
short = lives(max_epochs=EPOCHS)
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
        apart = [rewards_of(life, CONFIGS[name]) for life in (first, second, third)]
        reward = build_reward(CONFIGS[name], gamma=GAMMA)
        together = [[], [], []]
        for index in range(EPOCHS):
            for environment, life in enumerate((first, second)):
                together[environment] += step(reward, life, index, environment)
        for index in range(EPOCHS):
            together[2] += step(reward, third, index, 0)
        assert together == apart, name


def step(reward, life, index, environment):
    """Pays for one step as if it were of another environment, while the life goes on."""
    if index >= len(life.actions):
        return []
    previous, current = (
        replace(each, environment=environment) for each in life.reports[index : index + 2]
    )
    return [reward(previous, life.actions[index], current)]


@every_memory
def test_an_interrupted_round_leaves_no_entry(name):
    reward = build_reward(CONFIGS[name], gamma=GAMMA)
    broken = grown(contribution=40.0, rest=3, max_epochs=20)
    assert broken.now.ended is None
    for index in range(len(broken.actions)):
        step(reward, broken, index, 0)
    life = finished(contribution=10.0)
    paid = [each for index in range(len(life.actions)) for each in step(reward, life, index, 0)]
    assert paid == rewards_of(life, CONFIGS[name])


@every_memory
def test_an_entry_lasts_for_an_episode(name):
    """Its last step alone is not paid as the last of all of them is."""
    life = finished(contribution=40.0)
    (alone,) = step(build_reward(CONFIGS[name], gamma=GAMMA), life, len(life.actions) - 1, 0)
    assert alone != rewards_of(life, CONFIGS[name])[-1]


def finished(*, contribution):
    life = grown(contribution=contribution, rest=3, max_epochs=20)
    while life.now.epoch < 19:
        life.step(WAIT, Measured(loss=1.0 - contribution / 100, contributions={"r0c0": 10.0}))
    life.step(at(Op.FOSSILIZE), Measured(loss=0.5, contributions={"r0c0": contribution}))
    return life


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
