"""What events of one environment change: its episode and its slots."""

from __future__ import annotations

from dataclasses import replace

from esper_karn.state.draft import Draft
from esper_karn.state.episode import (
    Episode,
    better_episode,
    with_counterfactuals,
    with_epoch,
    with_outcome,
    with_seed_event,
)
from esper_karn.state.leaderboard import rank, with_ranked
from esper_karn.state.notices import (
    anomaly_notice,
    host_notice,
    lifecycle_notice,
    with_notice,
)
from esper_karn.state.run import EnvironmentState, Leaderboard, RewardSums
from esper_karn.state.stamped import stamp
from esper_leyline import SeedEvent, SeedEventKind
from esper_leyline.events import (
    CounterfactualMatrix,
    EpisodeOutcome,
    EpisodeStarted,
    EpochCompleted,
    Event,
    ProfileMeasured,
    TestEvaluated,
)
from esper_leyline.reports import ShapleyValues

COMPONENTS = 16
"""Reward components that are added up; a reward has at most 7."""


def episode_started(draft: Draft, event: Event, payload: EpisodeStarted) -> None:
    """A fresh host began an episode."""
    old = _environment(draft, event)
    _set_episode(draft, event, old, replace(old.episode, started=payload))


def epoch_completed(draft: Draft, event: Event, payload: EpochCompleted) -> None:
    """A host finished an epoch."""
    old = _environment(draft, event)
    episode = with_epoch(old.episode, event.epoch or 0, payload.host, event.sequence)
    draft.seed_events.pop(old.index, None)
    _set_episode(draft, event, old, episode)


def episode_outcome(draft: Draft, event: Event, payload: EpisodeOutcome) -> None:
    """An episode ended."""
    old = _environment(draft, event)
    episode = with_outcome(old.episode, event.epoch or 0, payload)
    draft.seed_events.pop(old.index, None)
    draft.environments[old.index] = EnvironmentState(
        index=old.index,
        at=event.sequence,
        monotonic=event.monotonic,
        episode=episode,
        best_episode=better_episode(old.best_episode, episode),
        last_return=payload.episode_return,
        profile=old.profile,
        test=old.test,
        test_round=old.test_round,
    )
    board = with_ranked(draft.leaderboard.episodes, rank(event, payload, episode))
    if board != draft.leaderboard.episodes:
        draft.leaderboard = Leaderboard(at=event.sequence, episodes=board)
    draft.rewards = _with_reward(draft.rewards, event, payload)


def seed_event(draft: Draft, event: Event, payload: SeedEvent) -> None:
    """Something happened to a seed."""
    old = _environment(draft, event)
    draft.seed_events.setdefault(old.index, []).append(payload)
    if payload.kind is SeedEventKind.GATE_EVALUATED:
        _set_episode(draft, event, old, old.episode)
    else:
        _set_episode(draft, event, old, with_seed_event(old.episode, event.epoch or 0, payload))
        draft.notices = with_notice(draft.notices, "lifecycle", lifecycle_notice(event))


def counterfactuals(draft: Draft, event: Event, payload: CounterfactualMatrix) -> None:
    """A host was validated with some seeds switched off."""
    old = _environment(draft, event)
    _set_episode(draft, event, old, with_counterfactuals(old.episode, stamp(event, payload)))


def shapley(draft: Draft, event: Event, payload: ShapleyValues) -> None:
    """The Shapley values of a host's seeds were measured."""
    old = _environment(draft, event)
    _set_episode(draft, event, old, replace(old.episode, shapley=stamp(event, payload)))


def test_evaluated(draft: Draft, event: Event, payload: TestEvaluated) -> None:
    """A host was evaluated on the test split."""
    old = _environment(draft, event)
    draft.environments[old.index] = replace(
        old,
        at=event.sequence,
        monotonic=event.monotonic,
        test=payload.result,
        test_round=event.round,
    )
    accuracies = [
        each.test.test_accuracy
        for each in draft.environments.values()
        if each.test is not None and each.test_round == event.round
    ]
    mean = sum(accuracies) / len(accuracies)
    draft.report, draft.report_at = replace(draft.report, mean_test_accuracy=mean), event.sequence


def profile_measured(draft: Draft, event: Event, payload: ProfileMeasured) -> None:
    """A telemetry profile was measured on a host."""
    old = _environment(draft, event)
    draft.environments[old.index] = replace(
        old, at=event.sequence, monotonic=event.monotonic, profile=stamp(event, payload)
    )


def anomaly(draft: Draft, event: Event, _payload: object) -> None:
    """Something looks wrong."""
    notices = with_notice(draft.notices, "anomalies", anomaly_notice(event))
    draft.notices = replace(notices, anomaly_count=notices.anomaly_count + 1)


def host_change(draft: Draft, event: Event, _payload: object) -> None:
    """The accuracy or the loss of a host changed."""
    draft.notices = with_notice(draft.notices, "hosts", host_notice(event))


def _environment(draft: Draft, event: Event) -> EnvironmentState:
    """Returns the environment of an event; its episode is a new one in another round."""
    assert event.environment is not None
    number = event.round or 0
    found = draft.environments.get(event.environment)
    environment = found or EnvironmentState(index=event.environment)
    if environment.episode.round == number:
        return environment
    draft.seed_events.pop(event.environment, None)
    return replace(environment, episode=Episode(round=number))


def _set_episode(draft: Draft, event: Event, old: EnvironmentState, episode: Episode) -> None:
    draft.environments[old.index] = EnvironmentState(
        index=old.index,
        at=event.sequence,
        monotonic=event.monotonic,
        episode=episode,
        best_episode=old.best_episode,
        last_return=old.last_return,
        profile=old.profile,
        test=old.test,
        test_round=old.test_round,
    )


def _with_reward(old: RewardSums, event: Event, outcome: EpisodeOutcome) -> RewardSums:
    number = event.round or 0
    sums = old if old.round == number else RewardSums(round=number)
    components = dict(sums.components)
    for name, value in outcome.reward_components.items():
        if name in components or len(components) < COMPONENTS:
            components[name] = components.get(name, 0.0) + value
    return RewardSums(
        at=event.sequence, round=number, episodes=sums.episodes + 1, components=components
    )
