"""What the default reward paid before there were others: later changes must not move it.

The figures are those of esper-simic 0.1.0, bit for bit; only the rent, which takes a
logarithm from the C library, may differ in its last place.
"""

from __future__ import annotations

import random

import pytest

from esper_leyline import Flag, RewardConfig
from esper_simic import build_reward

from .lives import SLOTS, Life, Measured, wander

PAID = {
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


def episode(seed: int) -> Life:
    """Plays 18 epochs at random; nobody measures the host without seeds."""
    chance = random.Random(seed)

    def measure() -> Measured:
        return Measured(
            accuracy=round(chance.uniform(40, 80), 2),
            loss=round(chance.uniform(0.5, 2), 3),
            contributions={slot: round(chance.uniform(-10, 40), 2) for slot in SLOTS},
        )

    return wander(Life(), chance, measure)


@pytest.mark.parametrize("seed", PAID)
def test_the_default_reward_pays_what_it_paid(seed):
    reward = build_reward(RewardConfig(), gamma=0.995)
    life, paid, flags = episode(seed), dict.fromkeys(PAID[seed], 0.0), []
    for step, action in enumerate(life.actions):
        breakdown = reward(life.reports[step], action, life.reports[step + 1])
        flags += breakdown.flags
        for name, value in breakdown.components.items():
            paid[name] += value
    rent, due = paid.pop("rent"), dict(PAID[seed])
    assert rent == pytest.approx(due.pop("rent"), rel=1e-14)
    assert paid == due
    assert flags == [
        Flag(kind="inflated_contribution", slot=f"r0c{column}") for column in FLAGS[seed]
    ]
