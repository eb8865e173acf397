"""Random episodes for hypothesis, and their rewards in every mode."""

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

from .simulated_episodes import (
    HAND_OVER,
    SLOTS,
    WAIT,
    Measured,
    SimulatedEpisode,
    at,
    germinate,
    permitted,
)

GAMMA = 0.995
CONFIGS = {f"{mode}-{family}": RewardConfig(mode=mode, family=family) for mode, family in REWARDS}
"""Every built-in reward, with its default weights."""

CONTRIBUTION = [name for name, config in CONFIGS.items() if config.family == "contribution"]
LOSS = [name for name, config in CONFIGS.items() if config.family == "loss"]
PENALTIES = ("rent", "alpha_shock", "warnings", "intervention")

rules_in_use = st.sampled_from(
    [HAND_OVER, LifecycleRules(), LifecycleRules(min_prune_age=0, embargo_ticks=1)]
)


def rewards_of(episode: SimulatedEpisode, config: RewardConfig, gamma: float = GAMMA):
    """Returns the breakdown of each step, in order."""
    reward = build_reward(config, gamma=gamma)
    return [
        reward(episode.reports[step], action, episode.reports[step + 1])
        for step, action in enumerate(episode.actions)
    ]


def discounted(
    episode: SimulatedEpisode, config: RewardConfig, *, since: int = 0, part: str | None = None
):
    """Returns the discounted sum of the rewards from step ``since`` on, or of one part of them."""
    paid = rewards_of(episode, config)[since:]
    return sum(
        GAMMA**step * (each.total if part is None else each.components[part])
        for step, each in enumerate(paid)
    )


def measures(chance, *, odd: bool = False):
    """Returns a function that draws results of validation; with ``odd`` some are not finite."""

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
def random_episodes(draw, *, odd: bool = False, max_epochs: int = 25) -> SimulatedEpisode:
    """Plays a whole episode at random; the governor ends one in four early."""
    chance = draw(st.randoms(use_true_random=False))
    episode = SimulatedEpisode(rules=draw(rules_in_use), max_epochs=max_epochs)
    measure = measures(chance, odd=odd)
    cut = chance.choice([None, None, None, chance.randint(1, max_epochs)])
    while episode.now.ended is None:
        action = chance.choice(permitted(episode.now))
        if action.op in (Op.PRUNE, Op.SET_ALPHA_TARGET):
            speed, target = chance.randrange(4), chance.randrange(3)
            action = replace(action, alpha_speed=speed, alpha_target=target)
        ended = EpisodeEnd.GOVERNOR if episode.now.epoch + 1 == cut else None
        episode.step(action, measure(), ended=ended)
    return episode


def blended(contribution: float, slot: int = 0) -> Measured:
    """Returns the measurements while one seed with this contribution is blended."""
    return Measured(loss=1.0 - contribution / 100, contributions={SLOTS[slot]: contribution})


def grown(
    slot: int = 0, *, contribution: float, rest: int = 0, max_epochs: int = 150
) -> SimulatedEpisode:
    """Returns an episode whose seed has been in HOLDING at alpha 1 for ``rest`` epochs."""
    episode = SimulatedEpisode(max_epochs=max_epochs)
    said = blended(contribution, slot)
    episode.step(germinate(slot))
    while episode.stage(slot) is not SeedStage.HOLDING:
        episode.step(WAIT, said if episode.now.seeds[slot].alpha > 0 else None)
    for _ in range(rest):
        episode.step(WAIT, said)
    return episode


def loop_of_germinations(
    episode: SimulatedEpisode, chance, slots: Sequence[int], steps: int
) -> None:
    """Germinates seeds, acts on them at random, prunes them, and waits until their slots are free.

    No seed is fossilized, and the last measurements equal the first.
    """
    before, measure = episode.now, measures(chance)
    at_first = Measured(
        accuracy=before.val_accuracy,
        loss=before.val_loss,
        contributions={seed.slot: seed.contribution for seed in before.seeds if seed.contribution},
    )
    for _ in range(steps):
        actions = [each for each in _open(episode.now) if each is WAIT or each.slot in slots]
        episode.step(chance.choice(actions), measure())
    while not _free(episode.now, slots):
        prunes = [each for each in _open(episode.now) if each.op is Op.PRUNE and each.slot in slots]
        episode.step(chance.choice(prunes) if prunes else WAIT, measure())
    episode.step(WAIT, at_first)


def loop_of_alphas(episode: SimulatedEpisode, chance, slot: int, steps: int) -> None:
    """Moves the alpha of a seed in HOLDING down and up at random, and back to 1."""
    before, measure = episode.now, measures(chance)
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
        episode.step(chance.choice([WAIT, turn]), measure())
    up = at(Op.SET_ALPHA_TARGET, slot, alpha_target=2, alpha_speed=0)
    while episode.stage(slot) is not SeedStage.HOLDING:
        episode.step(up, measure())
    for _ in range(7):
        episode.step(WAIT, measure())
    episode.step(WAIT, at_first)


def _open(report: StepReport):
    actions = permitted(report, without=(Op.FOSSILIZE,))
    return [
        germinate(each.slot, Blueprint.CONV_HEAVY) if each.op is Op.GERMINATE else each
        for each in actions
    ]


def _free(report: StepReport, slots: Sequence[int]) -> bool:
    return all(report.seeds[slot].stage is SeedStage.DORMANT for slot in slots)
