"""The default reward of random episodes equals the one recorded with esper-simic 0.1.0.

All figures are bit-identical, except the rent: it uses a logarithm of the C library, which may
differ in the last bit.
"""

from __future__ import annotations

import random

import pytest

from esper_leyline import Flag, RewardConfig
from esper_simic import build_reward

from .simulated_episodes import SLOTS, Measured, SimulatedEpisode, play_at_random

RECORDED = {
    0: {
        "shaping": -0.22244999999999937,
        "attribution": 1.6690699999999996,
        "rent": -0.881033384483381,
        "alpha_shock": -0.1592849146375595,
        "warnings": -0.30000000000000004,
        "intervention": -0.07,
        "terminal": 1.7195,
    },
    1: {
        "shaping": -0.33780000000000143,
        "attribution": 1.2300469999999997,
        "rent": -1.033428517981209,
        "alpha_shock": -0.09886649874055417,
        "warnings": -0.1,
        "intervention": -0.060000000000000005,
        "terminal": 3.3292,
    },
    2: {
        "shaping": -0.3079500000000017,
        "attribution": 4.274152,
        "rent": -0.9645406799885147,
        "alpha_shock": -0.09886649874055417,
        "warnings": -0.1,
        "intervention": -0.060000000000000005,
        "terminal": 1.7996,
    },
}
FLAGS = {0: "0010", 1: "010101", 2: "11111"}
"""Columns of the slots that were flagged, in order."""


def random_episode(seed: int) -> SimulatedEpisode:
    """Plays 18 epochs at random; the host without seeds is not measured."""
    chance = random.Random(seed)

    def measure() -> Measured:
        return Measured(
            accuracy=round(chance.uniform(40, 80), 2),
            loss=round(chance.uniform(0.5, 2), 3),
            contributions={slot: round(chance.uniform(-10, 40), 2) for slot in SLOTS},
        )

    return play_at_random(SimulatedEpisode(), chance, measure)


@pytest.mark.parametrize("seed", RECORDED)
def test_default_rewards_equal_the_recorded_ones(seed):
    reward = build_reward(RewardConfig(), gamma=0.995)
    episode, paid, flags = random_episode(seed), dict.fromkeys(RECORDED[seed], 0.0), []
    for step, action in enumerate(episode.actions):
        breakdown = reward(episode.reports[step], action, episode.reports[step + 1])
        flags += breakdown.flags
        for name, value in breakdown.components.items():
            paid[name] += value
    rent, due = paid.pop("rent"), dict(RECORDED[seed])
    assert rent == pytest.approx(due.pop("rent"), rel=1e-14)
    assert paid == due
    assert flags == [
        Flag(kind="inflated_contribution", slot=f"r0c{column}") for column in FLAGS[seed]
    ]
