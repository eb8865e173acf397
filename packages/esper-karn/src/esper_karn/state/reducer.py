"""Folds events into a run's state: a pure function, the same for any split of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from esper_karn.state.episode import (
    Episode,
    better_episode,
    with_counterfactuals,
    with_epoch,
    with_outcome,
    with_seed_event,
)
from esper_karn.state.notices import anomaly_notice, host_notice, lifecycle_notice
from esper_karn.state.rounds import RoundStats
from esper_karn.state.run import (
    DECISIONS,
    NOTICES,
    Cursor,
    EnvironmentState,
    Notices,
    RunSeries,
    RunState,
)
from esper_karn.state.stamped import Stamped, stamp
from esper_leyline import RunStatus, SeedEvent, SeedEventKind
from esper_leyline.events import (
    LIFECYCLE_KINDS,
    CheckpointLoaded,
    CheckpointSaved,
    CounterfactualMatrix,
    Decision,
    EnvironmentBuilt,
    EpisodeOutcome,
    EpisodeStarted,
    EpochCompleted,
    Event,
    PPOUpdate,
    ProfileMeasured,
    RoundCompleted,
    RunCompleted,
    RunFailed,
    RunPhase,
    RunResumed,
    RunStarted,
    TestEvaluated,
    Throughput,
    Vitals,
)
from esper_leyline.reports import ShapleyValues


def reduce(state: RunState, event: Event) -> RunState:
    """Returns the state after one more event.

    An event whose sequence number was seen before changes nothing, so a log may be read
    again from its start. An event of another run starts a new state.
    """
    if state.cursor.run_id != event.run_id:
        state = RunState(cursor=Cursor(run_id=event.run_id))
    if event.sequence <= state.cursor.sequence:
        return state
    state = _changed(state, cursor=_moved(state, event))
    case = _CASES.get(event.kind)
    if case is None or (event.environment is None and event.kind in _OF_ENVIRONMENTS):
        return state
    return case(state, event, event.payload)


def fold(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """Returns the state after many events, from the given state or from the initial one."""
    state = state or RunState()
    for event in events:
        state = reduce(state, event)
    return state


def rounds_worked(state: RunState) -> float:
    """Returns the number of finished rounds plus the finished share of the current one."""
    done = state.report.rounds_done
    current = [each.episode for each in state.environments if each.episode.round > done]
    if not current:
        return float(done)
    config = state.started.config if state.started else None
    hosts = max(config.n_envs if config else 0, len(current))
    epochs = config.max_epochs if config else None
    return done + sum(_share(each, epochs) for each in current) / hosts


def _share(episode: Episode, max_epochs: int | None) -> float:
    if episode.ended is not None:
        return 1.0
    return episode.epochs / max_epochs if max_epochs else 0.0


def _moved(state: RunState, event: Event) -> Cursor:
    old = state.cursor
    boot_start, boot_rounds = old.boot_start, old.boot_rounds
    if old.sequence < 0 or event.boot != old.boot:
        boot_start, boot_rounds = event.monotonic, rounds_worked(state)
    return Cursor(
        run_id=event.run_id,
        boot=event.boot,
        sequence=event.sequence,
        missing=old.missing + event.sequence - old.sequence - 1,
        coalesced=old.coalesced + event.coalesced,
        first_wall=event.wall_time if old.first_wall is None else old.first_wall,
        last_wall=event.wall_time,
        boot_start=boot_start,
        boot_rounds=boot_rounds,
        monotonic=event.monotonic,
    )


def _run_started(state: RunState, _event: Event, payload: RunStarted) -> RunState:
    report = replace(
        state.report,
        command=payload.command,
        task=payload.config.task,
    )
    return replace(state, started=payload, report=report)


def _run_phase(state: RunState, event: Event, payload: RunPhase) -> RunState:
    return replace(state, phase=stamp(event, payload))


def _environment_built(state: RunState, _event: Event, payload: EnvironmentBuilt) -> RunState:
    report = replace(state.report, host_parameters=payload.host_parameters)
    return replace(state, built=payload, report=report)


def _run_resumed(state: RunState, event: Event, payload: RunResumed) -> RunState:
    done = payload.rounds_completed
    report = replace(
        state.report,
        status=RunStatus.RUNNING,
        error=None,
        seconds=None,
        rounds_done=done,
        rounds=state.report.rounds.rewind(done),
    )
    cursor = replace(state.cursor, boot_start=event.monotonic, boot_rounds=float(done))
    return replace(state, cursor=cursor, report=report, environments=())


def _run_completed(state: RunState, _event: Event, payload: RunCompleted) -> RunState:
    report = replace(state.report, status=payload.status, seconds=payload.seconds)
    return replace(state, report=report)


def _run_failed(state: RunState, _event: Event, payload: RunFailed) -> RunState:
    report = replace(
        state.report, status=RunStatus.FAILED, error=payload.error, seconds=payload.seconds
    )
    return replace(state, report=report)


def _checkpoint(
    state: RunState, _event: Event, payload: CheckpointSaved | CheckpointLoaded
) -> RunState:
    return replace(state, report=replace(state.report, checkpoint=payload.path))


def _round_completed(state: RunState, _event: Event, payload: RoundCompleted) -> RunState:
    summary = payload.summary
    position, report, series = summary.round, state.report, state.series
    rounds = report.rounds.add(RoundStats.of(summary))
    return replace(
        state,
        report=replace(report, rounds_done=position, rounds=rounds),
        series=replace(
            series,
            mean_return=series.mean_return.add(position, summary.mean_return),
            accuracy=series.accuracy.add(position, summary.mean_accuracy),
            best_accuracy=series.best_accuracy.add(position, summary.best_accuracy),
            grown_parameters=series.grown_parameters.add(position, summary.grown_parameters),
        ),
    )


_UPDATE_SERIES = (
    "entropy",
    "kl",
    "clip_fraction",
    "explained_variance",
    "policy_loss",
    "value_loss",
)


def _ppo_update(state: RunState, event: Event, payload: PPOUpdate) -> RunState:
    series: RunSeries = state.series
    number = event.round or 0
    changed = {
        name: getattr(series, name).add(number, getattr(payload, name)) for name in _UPDATE_SERIES
    }
    return replace(state, update=stamp(event, payload), series=replace(series, **changed))


def _decision(state: RunState, event: Event, payload: Decision) -> RunState:
    return _changed(state, decisions=(*state.decisions, stamp(event, payload))[-DECISIONS:])


def _throughput(state: RunState, event: Event, payload: Throughput) -> RunState:
    old = state.series
    speed = old.host_epochs_per_second.add(event.round or 0, payload.host_epochs_per_second)
    series = replace(old, host_epochs_per_second=speed)
    return replace(state, throughput=stamp(event, payload), series=series)


def _vitals(state: RunState, event: Event, payload: Vitals) -> RunState:
    return replace(state, vitals=stamp(event, payload))


def _anomaly(state: RunState, event: Event, _payload: object) -> RunState:
    old = state.notices
    notices = replace(
        old,
        anomalies=(*old.anomalies, anomaly_notice(event))[-NOTICES:],
        anomaly_count=old.anomaly_count + 1,
    )
    return replace(state, notices=notices)


def _host_change(state: RunState, event: Event, _payload: object) -> RunState:
    old = state.notices
    notices = replace(old, hosts=(*old.hosts, host_notice(event))[-NOTICES:])
    return replace(state, notices=notices)


_Case = Callable[[RunState, Event, Any], RunState]


def _episode_started(state: RunState, event: Event, payload: EpisodeStarted) -> RunState:
    old = _environment(state, event)
    episode = replace(old.episode, started=payload)
    return _with_environment(state, _with_episode(old, episode), state.notices)


def _test_evaluated(state: RunState, event: Event, payload: TestEvaluated) -> RunState:
    environment = replace(_environment(state, event), test=payload.result)
    return _with_environment(state, environment, state.notices)


def _profile_measured(state: RunState, event: Event, payload: ProfileMeasured) -> RunState:
    environment = replace(_environment(state, event), profile=stamp(event, payload))
    return _with_environment(state, environment, state.notices)


def _epoch_completed(state: RunState, event: Event, payload: EpochCompleted) -> RunState:
    old = _environment(state, event)
    episode = with_epoch(old.episode, event.epoch or 0, payload.host)
    return _with_environment(state, _with_episode(old, episode), state.notices)


def _episode_outcome(state: RunState, event: Event, payload: EpisodeOutcome) -> RunState:
    old = _environment(state, event)
    episode = with_outcome(old.episode, event.epoch or 0, payload)
    environment = EnvironmentState(
        index=old.index,
        episode=episode,
        best_episode=better_episode(old.best_episode, episode),
        last_return=payload.episode_return,
        test=old.test,
        profile=old.profile,
    )
    return _with_environment(state, environment, state.notices)


def _seed_event(state: RunState, event: Event, payload: SeedEvent) -> RunState:
    old = _environment(state, event)
    episode = with_seed_event(old.episode, event.epoch or 0, payload)
    notices = state.notices
    if payload.kind is not SeedEventKind.GATE_EVALUATED:
        lifecycle = (*notices.lifecycle, lifecycle_notice(event))[-NOTICES:]
        notices = replace(notices, lifecycle=lifecycle)
    return _with_environment(state, _with_episode(old, episode), notices)


def _counterfactuals(state: RunState, event: Event, payload: CounterfactualMatrix) -> RunState:
    old = _environment(state, event)
    episode = with_counterfactuals(old.episode, stamp(event, payload))
    return _with_environment(state, _with_episode(old, episode), state.notices)


def _shapley(state: RunState, event: Event, payload: ShapleyValues) -> RunState:
    old = _environment(state, event)
    episode = replace(old.episode, shapley=stamp(event, payload))
    return _with_environment(state, _with_episode(old, episode), state.notices)


def _environment(state: RunState, event: Event) -> EnvironmentState:
    """Returns the environment of an event; its episode is a new one in another round."""
    assert event.environment is not None
    index, number = event.environment, event.round or 0
    found = next((each for each in state.environments if each.index == index), None)
    environment = found or EnvironmentState(index=index)
    if environment.episode.round == number:
        return environment
    return _with_episode(environment, Episode(round=number))


def _with_episode(old: EnvironmentState, episode: Episode) -> EnvironmentState:
    return EnvironmentState(
        index=old.index,
        episode=episode,
        best_episode=old.best_episode,
        last_return=old.last_return,
        test=old.test,
        profile=old.profile,
    )


def _with_environment(state: RunState, environment: EnvironmentState, notices: Notices) -> RunState:
    others = [each for each in state.environments if each.index != environment.index]
    environments = sorted((*others, environment), key=lambda each: each.index)
    return _changed(state, environments=tuple(environments), notices=notices)


def _changed(
    state: RunState,
    *,
    cursor: Cursor | None = None,
    environments: tuple[EnvironmentState, ...] | None = None,
    decisions: tuple[Stamped[Decision], ...] | None = None,
    notices: Notices | None = None,
) -> RunState:
    """Returns the state with other parts: several times faster than ``replace``."""
    return RunState(
        cursor=cursor or state.cursor,
        started=state.started,
        phase=state.phase,
        built=state.built,
        report=state.report,
        environments=state.environments if environments is None else environments,
        update=state.update,
        decisions=state.decisions if decisions is None else decisions,
        throughput=state.throughput,
        vitals=state.vitals,
        series=state.series,
        notices=notices or state.notices,
    )


_OF_ENVIRONMENTS = LIFECYCLE_KINDS | {
    "episode_started",
    "epoch_completed",
    "episode_outcome",
    "test_evaluated",
    "profile_measured",
    "counterfactual_matrix",
    "shapley_measured",
}
"""Kinds that change an environment; an event that names none changes nothing."""

_CASES: Mapping[str, _Case] = MappingProxyType(
    {
        "run_started": _run_started,
        "run_phase": _run_phase,
        "environment_built": _environment_built,
        "run_resumed": _run_resumed,
        "run_completed": _run_completed,
        "run_failed": _run_failed,
        "checkpoint_saved": _checkpoint,
        "checkpoint_loaded": _checkpoint,
        "round_completed": _round_completed,
        "ppo_update": _ppo_update,
        "decision": _decision,
        "throughput": _throughput,
        "vitals": _vitals,
        "epoch_completed": _epoch_completed,
        "episode_outcome": _episode_outcome,
        "seed_germinated": _seed_event,
        "seed_stage_changed": _seed_event,
        "seed_gate_evaluated": _seed_event,
        "seed_fossilized": _seed_event,
        "seed_pruned": _seed_event,
        "counterfactual_matrix": _counterfactuals,
        "shapley_measured": _shapley,
        "host_stabilized": _host_change,
        "plateau_detected": _host_change,
        "degradation_detected": _host_change,
        "improvement_detected": _host_change,
        "governor_rolled_back": _anomaly,
        "numerical_instability": _anomaly,
        "reward_hacking_suspected": _anomaly,
        "ratio_explosion": _anomaly,
        "ratio_collapse": _anomaly,
        "value_collapse": _anomaly,
        "entropy_collapse": _anomaly,
        "gradient_pathology": _anomaly,
        "performance_degradation": _anomaly,
        "memory_warning": _anomaly,
        "throughput_warning": _anomaly,
        "worker_restarted": _anomaly,
        "episode_started": _episode_started,
        "test_evaluated": _test_evaluated,
        "profile_measured": _profile_measured,
    }
)
