"""Whole episodes for hypothesis: any story that the lifecycle allows, in any mode's money."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from esper_leyline import (
    Blueprint,
    EpisodeEnd,
    LifecycleRules,
    Op,
    RewardConfig,
    SeedStage,
    StepReport,
)
from esper_simic import REWARDS, build_reward

from .lives import HAND_OVER, SLOTS, WAIT, Life, Measured, at, germinate, permitted

GAMMA = 0.995
CONFIGS = {f"{mode}-{family}": RewardConfig(mode=mode, family=family) for mode, family in REWARDS}
"""Every reward there is, with its default weights."""

CONTRIBUTION = [name for name, config in CONFIGS.items() if config.family == "contribution"]
LOSS = [name for name, config in CONFIGS.items() if config.family == "loss"]
PENALTIES = ("rent", "alpha_shock", "warnings", "intervention")

rules_in_use = st.sampled_from(
    [HAND_OVER, LifecycleRules(), LifecycleRules(min_prune_age=0, embargo_ticks=1)]
)


def rewards_of(life: Life, config: RewardConfig, gamma: float = GAMMA):
    """Returns the breakdown of each step, the reward seeing them in order."""
    reward = build_reward(config, gamma=gamma)
    return [
        reward(life.reports[step], action, life.reports[step + 1])
        for step, action in enumerate(life.actions)
    ]


def discounted(life: Life, config: RewardConfig, *, since: int = 0, part: str | None = None):
    """Sums what a life earns from step ``since`` on, or one part of it, discounted to there."""
    paid = rewards_of(life, config)[since:]
    return sum(
        GAMMA**step * (each.total if part is None else each.components[part])
        for step, each in enumerate(paid)
    )


def measures(chance, *, odd: bool = False):
    """Returns a function that makes up what validation says; ``odd`` makes some of it odd."""

    def measure() -> Measured:
        said = Measured(
            accuracy=chance.uniform(5, 95),
            loss=chance.uniform(0, 4),
            contributions={slot: chance.uniform(-40, 60) for slot in SLOTS},
            none=chance.choice([None, chance.uniform(0, 95)]),
        )
        if odd and chance.random() < 0.3:
            strange = chance.choice([math.nan, math.inf, -math.inf])
            said = replace(said, accuracy=chance.choice([None, strange]), loss=strange)
        return said

    return measure


@st.composite
def lives(draw, *, odd: bool = False, max_epochs: int = 25) -> Life:
    """Plays a whole episode at random; the governor ends one in four before its time."""
    chance = draw(st.randoms(use_true_random=False))
    life = Life(rules=draw(rules_in_use), max_epochs=max_epochs)
    measure = measures(chance, odd=odd)
    cut = chance.choice([None, None, None, chance.randint(1, max_epochs)])
    while life.now.ended is None:
        action = chance.choice(permitted(life.now))
        if action.op in (Op.PRUNE, Op.SET_ALPHA_TARGET):
            speed, target = chance.randrange(4), chance.randrange(3)
            action = replace(action, alpha_speed=speed, alpha_target=target)
        ended = EpisodeEnd.GOVERNOR if life.now.epoch + 1 == cut else None
        life.step(action, measure(), ended=ended)
    return life


def blended(contribution: float, slot: int = 0) -> Measured:
    """Returns what is measured while a seed takes part that contributes so many points."""
    return Measured(loss=1.0 - contribution / 100, contributions={SLOTS[slot]: contribution})


def grown(slot: int = 0, *, contribution: float, rest: int = 0, max_epochs: int = 150) -> Life:
    """Returns a host whose seed has been HOLDING at full strength for ``rest`` epochs."""
    life = Life(max_epochs=max_epochs)
    said = blended(contribution, slot)
    life.step(germinate(slot))
    while life.stage(slot) is not SeedStage.HOLDING:
        life.step(WAIT, said if life.now.seeds[slot].alpha > 0 else None)
    for _ in range(rest):
        life.step(WAIT, said)
    return life


def loop_of_germinations(life: Life, chance, slots: Sequence[int], steps: int) -> None:
    """Grows seeds, moves them about, prunes them all, and waits until their slots are free.

    Nothing is fossilized, and the last epoch measures the host as it was at first.
    """
    before, measure = life.now, measures(chance)
    at_first = Measured(
        accuracy=before.val_accuracy,
        loss=before.val_loss,
        contributions={seed.slot: seed.contribution for seed in before.seeds if seed.contribution},
    )
    for _ in range(steps):
        actions = [each for each in _open(life.now) if each is WAIT or each.slot in slots]
        life.step(chance.choice(actions), measure())
    while not _free(life.now, slots):
        prunes = [each for each in _open(life.now) if each.op is Op.PRUNE and each.slot in slots]
        life.step(chance.choice(prunes) if prunes else WAIT, measure())
    life.step(WAIT, at_first)


def loop_of_alphas(life: Life, chance, slot: int, steps: int) -> None:
    """Turns a holding seed's alpha down, about, and up again, and lets it settle."""
    before, measure = life.now, measures(chance)
    at_first = Measured(
        accuracy=before.val_accuracy,
        loss=before.val_loss,
        contributions={SLOTS[slot]: before.seeds[slot].contribution},
    )
    for _ in range(steps):
        turn = at(
            Op.SET_ALPHA_TARGET,
            slot,
            alpha_target=chance.randrange(3),
            alpha_speed=chance.randrange(4),
        )
        life.step(chance.choice([WAIT, turn]), measure())
    up = at(Op.SET_ALPHA_TARGET, slot, alpha_target=2, alpha_speed=0)
    while life.stage(slot) is not SeedStage.HOLDING:
        life.step(up, measure())
    for _ in range(7):
        life.step(WAIT, measure())
    life.step(WAIT, at_first)


def _open(report: StepReport):
    actions = permitted(report, without=(Op.FOSSILIZE,))
    return [
        germinate(each.slot, Blueprint.CONV_HEAVY) if each.op is Op.GERMINATE else each
        for each in actions
    ]


def _free(report: StepReport, slots: Sequence[int]) -> bool:
    return all(report.seeds[slot].stage is SeedStage.DORMANT for slot in slots)
