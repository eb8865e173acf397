"""A round of episodes, whoever decides in it; and the seeds it is played with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from esper_leyline import Environment, RewardFunction, RoundSummary, RunStatus
from esper_simic.recorder import RoundRecorder
from esper_simic.rollout.actor import Decider

_HOSTS, _ACTIONS = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run of rounds ended.

    Attributes:
        status: Completed, or interrupted between two steps.
        rounds: Every complete round, earlier runs of a resumed one included.
        discarded_steps: Steps of the round that was interrupted; nothing was learnt
            from them and no round event tells of them.
    """

    status: RunStatus
    rounds: tuple[RoundSummary, ...]
    discarded_steps: int = 0


def episode_seeds(run_seed: int, round_number: int, environments: int) -> tuple[int, ...]:
    """Returns the host seeds of a round, one an environment.

    They are words of numpy's ``SeedSequence`` over (run seed, round, 0), without their
    highest bit. The k-th does not depend on how many there are, so whoever plays a
    round of this run seed meets the same hosts.

    Args:
        run_seed: Not negative.
        round_number: Counted from 1.
        environments: How many.
    """
    return _words(run_seed, round_number, _HOSTS, environments)


def action_seed(run_seed: int, round_number: int) -> int:
    """Returns the seed from which a round's actions are sampled, apart from its hosts'."""
    return _words(run_seed, round_number, _ACTIONS, 1)[0]


def play_round(
    environment: Environment,
    decider: Decider,
    reward: RewardFunction,
    recorder: RoundRecorder,
    *,
    rng_seeds: Sequence[int],
    should_stop: Callable[[], bool],
) -> int | None:
    """Plays one episode for each random seed, side by side, until all have ended.

    Returns:
        ``None`` when the round is complete; otherwise the steps played before
        ``should_stop`` said so.
    """
    watch = recorder.watch
    with watch.measure("environment"):
        reports = environment.reset(rng_seeds)
    decider.reset(rng_seeds)
    steps = 0
    while any(report.ended is None for report in reports):
        if should_stop():
            return steps
        with watch.measure("act"):
            choices = decider.choose(reports)
        with watch.measure("environment"):
            following = environment.step([choice.action for choice in choices])
        with watch.measure("record"):
            rewards = []
            for index, (before, choice, after) in enumerate(
                zip(reports, choices, following, strict=True)
            ):
                if before.ended is not None:
                    rewards.append(0.0)
                    continue
                paid = reward(before, choice.action, after)
                recorder.step(index, before, choice, after, paid)
                rewards.append(paid.total)
        with watch.measure("act"):
            decider.learn(reports, rewards, following)
        reports, steps = following, steps + 1
    return None


def _words(run_seed: int, round_number: int, purpose: int, count: int) -> tuple[int, ...]:
    words = np.random.SeedSequence((run_seed, round_number, purpose)).generate_state(count)
    return tuple(int(word) >> 1 for word in words)
