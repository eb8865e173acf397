"""Plays a round of episodes, and derives its random seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from esper_leyline import (
    Environment,
    HostPlacement,
    RewardBreakdown,
    RewardFunction,
    StepReport,
)
from esper_simic.rollout.actor import Actor, ActorStep
from esper_simic.rollout.stopwatch import Stopwatch

RecordStep = Callable[[int, StepReport, ActorStep, StepReport, RewardBreakdown], None]
"""Receives a step: environment, report before, action, report after, reward."""

RecordStart = Callable[[Sequence[StepReport], Sequence[HostPlacement]], None]
"""Receives the reports of fresh hosts, and where each computes."""

_HOSTS, _ACTIONS = 0, 1


def episode_seeds(run_seed: int, round_number: int, environments: int) -> tuple[int, ...]:
    """Returns the host seeds of a round, one an environment.

    They are words of numpy's ``SeedSequence`` over (run seed, round, 0), without their
    highest bit. The k-th does not depend on how many there are, so every
    round of this number and run seed has the same hosts.

    Args:
        run_seed: Not negative.
        round_number: Counted from 1.
        environments: How many.
    """
    return _words(run_seed, round_number, _HOSTS, environments)


def action_seed(run_seed: int, round_number: int) -> int:
    """Returns the seed from which a round's actions are sampled, apart from its hosts'."""
    return _words(run_seed, round_number, _ACTIONS, 1)[0]


def collect_round(
    environment: Environment,
    actor: Actor,
    reward: RewardFunction,
    record: RecordStep,
    watch: Stopwatch,
    *,
    rng_seeds: Sequence[int],
    should_stop: Callable[[], bool],
    record_start: RecordStart | None = None,
) -> int | None:
    """Plays one episode for each random seed, side by side, until all have ended.

    Args:
        environment: The hosts.
        actor: Chooses actions, and receives rewards.
        reward: Computes the reward of each step.
        record: Called with every step of a running episode.
        watch: Measures the parts of a step.
        rng_seeds: One for each environment.
        should_stop: Asked before every step.
        record_start: Called once, before the first step.

    Returns:
        ``None`` when all episodes have ended; otherwise the steps that were played before
        ``should_stop`` returned true.
    """
    with watch.measure("environment"):
        reports = environment.reset(rng_seeds)
    if record_start is not None:
        record_start(reports, environment.placements)
    actor.reset(rng_seeds)
    steps = 0
    while any(report.ended is None for report in reports):
        if should_stop():
            return steps
        with watch.measure("act"):
            chosen = actor.act(reports)
        with watch.measure("environment"):
            following = environment.step([each.action for each in chosen])
        with watch.measure("record"):
            rewards = []
            for index, (before, step, after) in enumerate(
                zip(reports, chosen, following, strict=True)
            ):
                if before.ended is not None:
                    rewards.append(0.0)
                    continue
                earned = reward(before, step.action, after)
                record(index, before, step, after, earned)
                rewards.append(earned.total)
        with watch.measure("act"):
            actor.observe(reports, rewards, following)
        reports, steps = following, steps + 1
    return None


def _words(run_seed: int, round_number: int, purpose: int, count: int) -> tuple[int, ...]:
    words = np.random.SeedSequence((run_seed, round_number, purpose)).generate_state(count)
    return tuple(int(word) >> 1 for word in words)
