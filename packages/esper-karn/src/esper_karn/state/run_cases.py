"""What events of the whole run change: its progress, its machine, its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from esper_karn.state.decisions import DECISIONS
from esper_karn.state.draft import Draft
from esper_karn.state.episode_draft import EnvironmentDraft, EpisodeDraft, slots_of
from esper_karn.state.rounds import RoundStats
from esper_karn.state.run import PHASES, Leaderboard, PhaseStart, RewardSums, Workers
from esper_karn.state.series import CHART_CAPACITY
from esper_karn.state.stamped import stamp
from esper_leyline import RunStatus
from esper_leyline.events import (
    CheckpointLoaded,
    CheckpointSaved,
    EnvironmentBuilt,
    Event,
    RoundCompleted,
    RunCompleted,
    RunFailed,
    RunPhase,
    RunResumed,
    RunStarted,
    Throughput,
    Vitals,
    WorkerRestarted,
)
from esper_leyline.health import MemoryKind, memory_uses

LEAST_WAIT = 120.0
"""Seconds without an epoch that are never called a stall."""

USUAL_WAITS = 20.0
"""A run is stalled after this many times the usual wait for an epoch."""


def run_started(draft: Draft, event: Event, payload: RunStarted) -> None:
    """A run began."""
    report = replace(draft.report, command=payload.command, task=payload.config.task)
    draft.started, draft.report, draft.report_at = payload, report, event.sequence


def run_phase(draft: Draft, event: Event, payload: RunPhase) -> None:
    """A run entered a phase."""
    start = PhaseStart(
        sequence=event.sequence,
        boot=event.boot,
        monotonic=event.monotonic,
        phase=payload.phase,
        detail=payload.detail,
    )
    draft.phases = (*draft.phases, start)[-PHASES:]


def environment_built(draft: Draft, event: Event, payload: EnvironmentBuilt) -> None:
    """Hosts and policy were built."""
    report = replace(draft.report, host_parameters=payload.host_parameters)
    draft.built, draft.report, draft.report_at = payload, report, event.sequence


def run_resumed(draft: Draft, event: Event, payload: RunResumed) -> None:
    """A run went on from a checkpoint: what came after it is dropped, because it is repeated."""
    done, at = payload.rounds_completed, event.sequence
    draft.report = replace(
        draft.report,
        status=RunStatus.RUNNING,
        error=None,
        seconds=None,
        rounds_done=done,
        rounds=draft.report.rounds.rewind(done),
    )
    draft.report_at = at
    draft.cursor = replace(draft.cursor, boot_start=event.monotonic, boot_rounds=float(done))
    for index in draft.environments:
        _rewind(draft.environment(index), done, event)
    for name in draft.series:
        series = draft.find_series(name)
        if series is not None and not name.startswith("machine/"):
            draft.series[name] = series.rewind(done, at)
    draft.decisions = deque(
        (each for each in draft.decisions if (each.round or 0) <= done), maxlen=DECISIONS
    )
    draft.decisions_at = at
    kept = tuple(each for each in draft.leaderboard.episodes if each.round <= done)
    draft.leaderboard = Leaderboard(at=at, episodes=kept)
    if draft.rewards.round > done:
        draft.rewards = RewardSums(at=at)
    if draft.update is not None and (draft.update.round or 0) > done:
        draft.update, draft.update_at = None, at
    draft.notices.rewind(done)
    draft.notices.add("run", event)


def run_completed(draft: Draft, event: Event, payload: RunCompleted) -> None:
    """A run ended."""
    draft.report = replace(draft.report, status=payload.status, seconds=payload.seconds)
    draft.report_at = event.sequence
    draft.notices.add("run", event)


def run_failed(draft: Draft, event: Event, payload: RunFailed) -> None:
    """A run ended with an error."""
    draft.report = replace(
        draft.report, status=RunStatus.FAILED, error=payload.error, seconds=payload.seconds
    )
    draft.report_at = event.sequence
    draft.notices.add("run", event)


def checkpoint(draft: Draft, event: Event, payload: CheckpointSaved | CheckpointLoaded) -> None:
    """A checkpoint was written or read."""
    draft.report, draft.report_at = replace(draft.report, checkpoint=payload.path), event.sequence
    draft.notices.add("run", event)


def round_completed(draft: Draft, event: Event, payload: RoundCompleted) -> None:
    """All episodes of a round ended."""
    summary = payload.summary
    number, report = summary.round, draft.report
    rounds = report.rounds.add(RoundStats.of(summary))
    draft.report = replace(report, rounds_done=number, rounds=rounds)
    draft.report_at = event.sequence
    for name, value in (
        ("mean_return", summary.mean_return),
        ("accuracy", summary.mean_accuracy),
        ("best_accuracy", summary.best_accuracy),
        ("grown_parameters", summary.grown_parameters),
    ):
        draft.add_sample(name, number, value, capacity=CHART_CAPACITY)
    total = sum(summary.ops.values())
    for op, count in summary.ops.items():
        draft.add_sample(f"op_share/{op}", number, count / total if total else None)
    draft.add_sample("germinated", number, float(summary.germinated))
    draft.add_sample("fossilized", number, float(summary.fossilized))
    draft.add_sample("pruned", number, float(summary.pruned))
    draft.add_sample("seconds_worked", number, draft.cursor.earlier_boots + draft.monotonic)
    if draft.rewards.round == number:
        for name, mean in draft.rewards.means().items():
            draft.add_sample(f"reward/{name}", number, mean)
    draft.judge("rollbacks", summary.rollbacks / summary.episodes if summary.episodes else None)
    draft.judge("dead_seeds", *_dead_seeds(draft))


def throughput(draft: Draft, event: Event, payload: Throughput) -> None:
    """How fast a round went."""
    draft.throughput = stamp(event, payload)
    speed = payload.host_epochs_per_second
    draft.judge("throughput", draft.speeds.share(speed))
    draft.speeds = draft.speeds.add(speed)
    draft.add_sample("host_epochs_per_second", event.round or 0, speed, capacity=CHART_CAPACITY)


def vitals(draft: Draft, event: Event, payload: Vitals) -> None:
    """The machine was measured."""
    draft.vitals = stamp(event, payload)
    seconds = int(draft.cursor.earlier_boots + event.monotonic)
    for name, value in (
        ("machine/cpu_percent", payload.cpu_percent),
        ("machine/rss_mb", payload.rss_mb),
        ("machine/memory_mb", payload.memory_mb),
        ("machine/gpu_percent", _largest(gpu.percent for gpu in payload.gpus)),
        ("machine/gpu_memory_mb", _largest(gpu.memory_mb for gpu in payload.gpus)),
    ):
        draft.add_sample(name, seconds, value)
    for use in memory_uses(payload):
        where = use.device if use.kind is MemoryKind.GPU_MEMORY else ""
        draft.judge(use.kind.value, use.value, where)
    draft.judge("stalled", _wait(draft))
    if draft.missing or "telemetry" in draft.verdicts:
        draft.judge("telemetry", float(draft.missing))


def worker_restarted(draft: Draft, event: Event, payload: WorkerRestarted) -> None:
    """A worker process was started again."""
    restarts = draft.workers.restarts + 1
    draft.workers = Workers(at=event.sequence, restarts=restarts, latest=payload)


def _rewind(environment: EnvironmentDraft, done: int, event: Event) -> None:
    environment.touch(event.sequence, 0.0)
    if environment.episode.round > done:
        environment.episode, environment.last_return = EpisodeDraft(), None
    best = environment.best_episode
    environment.best_episode = best if best is not None and best.round <= done else None


def _dead_seeds(draft: Draft) -> tuple[float | None, str]:
    """Returns the share of the hosts' measured seeds whose gradients vanish, and where."""
    measured, dead = 0, []
    for environment in draft.environments.values():
        for seed in slots_of(environment.episode):
            if seed.occupied and seed.gradient_vanishing is not None:
                measured += 1
                if seed.gradient_vanishing:
                    dead.append(f"host {environment.index} {seed.slot}")
    return (len(dead) / measured if measured else None), ", ".join(dead[:4])


def _wait(draft: Draft) -> float | None:
    """Returns the time since the latest news of a host, over the longest usual one."""
    latest = max((each.monotonic for each in draft.environments.values()), default=None)
    if latest is None or draft.throughput is None or draft.monotonic < latest:
        return None
    speed = draft.throughput.payload.host_epochs_per_second
    usual = USUAL_WAITS * len(draft.environments) / speed if speed > 0 else 0.0
    return (draft.monotonic - latest) / max(LEAST_WAIT, usual)


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
