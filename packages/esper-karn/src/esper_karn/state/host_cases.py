"""What events of one environment change: its episode and its slots."""

from __future__ import annotations

from dataclasses import replace

from esper_karn.state.draft import Draft
from esper_karn.state.episode import COMPONENTS, better_episode
from esper_karn.state.episode_draft import EnvironmentDraft, EpisodeDraft
from esper_karn.state.leaderboard import rank, with_ranked
from esper_karn.state.run import Leaderboard, RewardSums
from esper_karn.state.stamped import stamp
from esper_leyline import SeedEvent, SeedEventKind
from esper_leyline.events import (
    CounterfactualMatrix,
    Decision,
    EpisodeOutcome,
    EpisodeStarted,
    EpochCompleted,
    Event,
    TestEvaluated,
)
from esper_leyline.profiles import HostProfile
from esper_leyline.reports import ShapleyValues


def episode_started(draft: Draft, event: Event, payload: EpisodeStarted) -> None:
    """A fresh host began an episode."""
    _episode(draft, event).started = payload


def epoch_completed(draft: Draft, event: Event, payload: EpochCompleted) -> None:
    """A host finished an epoch."""
    _episode(draft, event).add_epoch(event.epoch or 0, payload.host, event.sequence)


def episode_outcome(draft: Draft, event: Event, payload: EpisodeOutcome) -> None:
    """An episode ended."""
    environment = _environment(draft, event)
    draft_episode = _episode(draft, event)
    draft_episode.add_outcome(event.epoch or 0, payload)
    episode = draft_episode.freeze()
    environment.best_episode = better_episode(environment.best_episode, episode)
    environment.last_return = payload.episode_return
    board = with_ranked(draft.leaderboard.episodes, rank(event, payload, episode))
    if board != draft.leaderboard.episodes:
        draft.leaderboard = Leaderboard(at=event.sequence, episodes=board)
    draft.rewards = _with_reward(draft.rewards, event, payload)


def decision(draft: Draft, event: Event, payload: Decision) -> None:
    """A controller decided for a host."""
    host = event.environment
    if payload.reward is not None and host is not None and draft.has_room_for(host):
        _episode(draft, event).add_rewards(payload.reward.components)


def seed_event(draft: Draft, event: Event, payload: SeedEvent) -> None:
    """Something happened to a seed."""
    _episode(draft, event).add_event(event.epoch or 0, payload)
    if payload.kind is not SeedEventKind.GATE_EVALUATED:
        draft.notices.add("lifecycle", event)


def counterfactuals(draft: Draft, event: Event, payload: CounterfactualMatrix) -> None:
    """A host was validated with some seeds switched off."""
    _episode(draft, event).counterfactuals = stamp(event, payload)


def shapley(draft: Draft, event: Event, payload: ShapleyValues) -> None:
    """The Shapley values of a host's seeds were measured."""
    _episode(draft, event).shapley = stamp(event, payload)


def test_evaluated(draft: Draft, event: Event, payload: TestEvaluated) -> None:
    """A host was evaluated on the test split."""
    environment = _environment(draft, event)
    environment.test, environment.test_round = payload.result, event.round
    accuracies = [
        each.test.test_accuracy
        for each in draft.environments.values()
        if each.test is not None and each.test_round == event.round
    ]
    mean = sum(accuracies) / len(accuracies)
    draft.report, draft.report_at = replace(draft.report, mean_test_accuracy=mean), event.sequence


def profile_measured(draft: Draft, event: Event, payload: HostProfile) -> None:
    """A telemetry profile was measured on a host."""
    _environment(draft, event).profile = stamp(event, payload)


def anomaly(draft: Draft, event: Event, _payload: object) -> None:
    """Something looks wrong."""
    draft.notices.add("anomalies", event)


def host_change(draft: Draft, event: Event, _payload: object) -> None:
    """The accuracy or the loss of a host changed."""
    draft.notices.add("hosts", event)


def _environment(draft: Draft, event: Event) -> EnvironmentDraft:
    """Returns the environment of an event, which changes it.

    Its episode is a new one in another round.
    """
    assert event.environment is not None
    environment = draft.environment(event.environment)
    environment.touch(event.sequence, event.monotonic)
    if environment.episode.round != (event.round or 0):
        environment.episode = EpisodeDraft(round=event.round or 0)
    return environment


def _episode(draft: Draft, event: Event) -> EpisodeDraft:
    """Returns the episode of an event, which changes it."""
    episode = _environment(draft, event).episode
    episode.frozen = None
    return episode


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
