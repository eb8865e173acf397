"""Plays rounds with controllers; nothing is learnt."""

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
)
from esper_simic.recorder import RoundRecorder
from esper_simic.rollout.actor import Actor, ControllerActor
from esper_simic.rollout.collect import collect_round, episode_seeds
from esper_simic.runner.outcome import RunOutcome, never


def run_controllers(
    environment: Environment,
    controllers: Sequence[Controller],
    reward: RewardFunction,
    telemetry: Telemetry | None = None,
    *,
    rounds: int,
    first_round: int = 1,
    rng_seed: int = 0,
    should_stop: Callable[[], bool] = never,
    after_round: Callable[[RoundSummary], None] | None = None,
) -> RunOutcome:
    """Plays rounds on all hosts of an environment, with one controller for each host.

    Args:
        environment: The hosts.
        controllers: One for each host.
        reward: Computes the reward of each step, so that returns can be compared.
        telemetry: Receives the events.
        rounds: How many rounds.
        first_round: Number of the first of them.
        rng_seed: The hosts of a round follow from it and the round's number. They are those that
            a ``PPORunner`` with this seed trains on in the same round.
        should_stop: Asked before every step; the interrupted round is discarded.
        after_round: Called with each complete round, even if the run fails later.

    Raises:
        SimicError: If there is not one controller for each host.
    """
    events = telemetry or NullTelemetry()
    actor: Actor = ControllerActor(controllers)
    hosts = environment.spec.environments
    summaries: list[RoundSummary] = []
    for number in range(first_round, first_round + rounds):
        recorder = RoundRecorder(events, round_number=number, environments=hosts)
        interrupted_at = collect_round(
            environment,
            actor,
            reward,
            recorder.step,
            recorder.watch,
            rng_seeds=episode_seeds(rng_seed, number, hosts),
            should_stop=should_stop,
            record_start=recorder.start,
        )
        if interrupted_at is not None:
            return RunOutcome(
                status=RunStatus.INTERRUPTED,
                rounds=tuple(summaries),
                discarded_steps=interrupted_at,
            )
        summaries.append(recorder.finish())
        if after_round is not None:
            after_round(summaries[-1])
    return RunOutcome(status=RunStatus.COMPLETED, rounds=tuple(summaries))
