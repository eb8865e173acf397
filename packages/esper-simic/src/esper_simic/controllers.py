"""Rounds in which nothing is learnt: controllers on the hosts that a policy would meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from esper_leyline import (
    Controller,
    Environment,
    NullTelemetry,
    RewardFunction,
    RoundSummary,
    RunStatus,
    Telemetry,
    TrainingConfig,
)
from esper_simic.recorder import RoundRecorder
from esper_simic.rollout.actor import ControllerDecider
from esper_simic.rollout.collect import RunOutcome, episode_seeds, play_round
from esper_simic.runner import check_environments, never


def run_controllers(
    environment: Environment,
    controllers: Sequence[Controller],
    reward: RewardFunction,
    config: TrainingConfig,
    telemetry: Telemetry | None = None,
    *,
    rounds: int | None = None,
    first_round: int = 1,
    should_stop: Callable[[], bool] = never,
    after_round: Callable[[RoundSummary], None] | None = None,
) -> RunOutcome:
    """Plays rounds with one controller an environment, recorded as a trainer's are.

    Args:
        environment: The hosts.
        controllers: ``config.n_envs`` of them.
        reward: Pays for steps, so that returns can be compared.
        config: ``seed``, ``n_episodes`` and ``n_envs`` are read; the hosts of a round
            are those that ``PPOTrainer`` meets under the same seed.
        telemetry: Where events go.
        rounds: ``config.n_episodes`` if not given.
        first_round: Number of the first of them, so that any stretch of a trainer's
            rounds can be played on the same hosts.
        should_stop: Asked before every step; the round that it breaks off is discarded.
        after_round: Called with each complete round, also of a run that fails later.

    Raises:
        SimicError: If the numbers of controllers, hosts and environments do not agree.
    """
    check_environments(environment, config)
    heard = telemetry or NullTelemetry()
    decider = ControllerDecider(controllers)
    summaries: list[RoundSummary] = []
    count = config.n_episodes if rounds is None else rounds
    for number in range(first_round, first_round + count):
        recorder = RoundRecorder(heard, round_number=number, environments=config.n_envs)
        unfinished = play_round(
            environment,
            decider,
            reward,
            recorder,
            rng_seeds=episode_seeds(config.seed, number, config.n_envs),
            should_stop=should_stop,
        )
        if unfinished is not None:
            return RunOutcome(
                status=RunStatus.INTERRUPTED,
                rounds=tuple(summaries),
                discarded_steps=unfinished,
            )
        summaries.append(recorder.finish())
        if after_round is not None:
            after_round(summaries[-1])
    return RunOutcome(status=RunStatus.COMPLETED, rounds=tuple(summaries))
