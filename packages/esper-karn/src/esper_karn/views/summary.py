"""Panels of the run as a whole: header, phase, health, machine."""

from __future__ import annotations

from dataclasses import dataclass

from esper_karn.state.health import CHECKS
from esper_karn.state.run import RunState
from esper_karn.views.levels import why_empty
from esper_karn.views.progress import progress
from esper_leyline import RunStatus
from esper_leyline.events import GpuVitals
from esper_leyline.health import Level, Limits
from esper_leyline.wire import WIRE_CONFIG, Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a run is and how far it is.

    Attributes:
        status: From the log alone: a reader of ``run.lock`` knows whether a running one crashed.
        share: Share of the run that is done, 0 to 1.
        elapsed: Seconds from the first event to the latest.
        eta: Seconds until the end, as of the latest event.
        mean_accuracy: Of the current round's hosts, in percent; of the last round's after the end
            of the run, and until a round has its first epoch.
        best_accuracy: Best final validation accuracy, in percent.
        test_accuracy: Mean of the last round's hosts on the test split, in percent.
        last_event: Unix time of the latest event.
        boot: Counts the processes that have written the log, from 0.
        missing: Events that the log lacks.
        coalesced: Samples that later ones stand for.
        health: The worst level of all verdicts.
    """

    __pydantic_config__ = WIRE_CONFIG

    run_id: str | None
    command: str | None
    task: str | None
    device: str | None
    plan: str | None
    status: RunStatus
    error: str | None
    round: int
    rounds_done: int
    rounds_total: int | None
    epochs_done: int
    epochs_total: int | None
    share: Float | None
    elapsed: Float | None
    eta: Float | None
    mean_accuracy: Float | None
    best_accuracy: Float | None
    test_accuracy: Float | None
    host_parameters: int | None
    policy_parameters: int | None
    checkpoint: str | None
    last_event: Float | None
    boot: int
    missing: int
    coalesced: int
    anomalies: int
    health: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStep:
    """A phase of the current process.

    Attributes:
        seconds: How long it took; ``None`` for the current one.
    """

    phase: str
    detail: str | None
    seconds: Float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseView:
    """What the run is doing, for example ``building``; ``None`` before its first phase.

    Attributes:
        since: Seconds of the run's process when it began.
        steps: The phases of the current process so far, the current one last.
    """

    __pydantic_config__ = WIRE_CONFIG

    phase: str | None
    detail: str | None
    since: Float | None
    steps: tuple[PhaseStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictView:
    """How one check stands.

    Attributes:
        measures: What the value is, with its unit.
        threshold: Of the level that it is at; of the first warning where it is well.
        below: Whether values below the threshold are the bad ones.
        where: The part concerned, for example a head; empty for the whole run.
        advice: What to do, in one sentence.
    """

    name: str
    level: Level
    value: Float | None
    threshold: Float
    below: bool
    where: str
    measures: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Every check that was made, the worst first."""

    __pydantic_config__ = WIRE_CONFIG

    verdicts: tuple[VerdictView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine under the run, and the speed of hosts.

    Attributes:
        seconds: Wall time of the latest round by part.
        restarts: Worker processes that were started again.
        latest_restart: Why the latest one was.
        empty: Why nothing was measured, ``None`` if something was.
        speed_empty: The same for the speed of hosts.
    """

    __pydantic_config__ = WIRE_CONFIG

    cpu_percent: Float | None
    rss_mb: Float | None
    memory_mb: Float | None
    total_memory_mb: Float | None
    disk_free_mb: Float | None
    total_disk_mb: Float | None
    gpus: tuple[GpuVitals, ...]
    host_epochs_per_second: Float | None
    seconds: dict[str, Float]
    restarts: int
    latest_restart: str | None
    empty: str | None
    speed_empty: str | None


def header(state: RunState) -> Header:
    """Selects what a run is and how far it is."""
    now, report, built, cursor = progress(state), state.report, state.built, state.cursor
    total, last = report.rounds.total, report.rounds.last
    accuracy = now.mean_accuracy
    if accuracy is None and last is not None:
        accuracy = last.mean_accuracy
    return Header(
        run_id=cursor.run_id,
        command=report.command,
        task=report.task,
        device=state.started.config.device if state.started else None,
        plan=built.plan if built else None,
        status=report.status,
        error=report.error,
        round=now.round,
        rounds_done=now.rounds_done,
        rounds_total=now.rounds_total,
        epochs_done=now.epochs_done,
        epochs_total=now.epochs_total,
        share=now.share,
        elapsed=now.elapsed,
        eta=now.eta,
        mean_accuracy=accuracy,
        best_accuracy=total.best_accuracy if total else None,
        test_accuracy=report.mean_test_accuracy,
        host_parameters=report.host_parameters,
        policy_parameters=built.policy_parameters if built else None,
        checkpoint=report.checkpoint,
        last_event=cursor.last_wall,
        boot=cursor.boot,
        missing=cursor.missing,
        coalesced=cursor.coalesced,
        anomalies=state.notices.anomaly_count,
        health=_worst(state),
    )


def phase(state: RunState) -> PhaseView:
    """Selects what the run is doing."""
    phases = [each for each in state.phases if each.boot == state.cursor.boot]
    current = phases[-1] if phases else None
    ends = [each.monotonic for each in phases[1:]]
    return PhaseView(
        phase=current.phase.value if current else None,
        detail=current.detail if current else None,
        since=current.monotonic if current else None,
        steps=tuple(
            PhaseStep(
                phase=each.phase.value,
                detail=each.detail,
                seconds=None if end is None else end - each.monotonic,
            )
            for each, end in zip(phases, [*ends, None], strict=False)
        ),
    )


def health(state: RunState) -> Health:
    """Selects every check that was made, the worst first."""
    views = []
    for name, check in CHECKS.items():
        verdict = state.verdicts.get(name)
        if verdict is None:
            continue
        limits = check.limits
        views.append(
            VerdictView(
                name=name,
                level=verdict.level,
                value=verdict.value,
                threshold=_threshold(limits, verdict.level),
                below=limits.below,
                where=verdict.where,
                measures=check.measures,
                advice=check.advice,
            )
        )
    return Health(verdicts=tuple(sorted(views, key=lambda each: -each.level.rank)))


def machine(state: RunState) -> Machine:
    """Selects the latest measurement of the machine, and the speed of hosts."""
    vitals = state.vitals.payload if state.vitals else None
    speed = state.throughput.payload if state.throughput else None
    latest = state.workers.latest
    return Machine(
        cpu_percent=vitals.cpu_percent if vitals else None,
        rss_mb=vitals.rss_mb if vitals else None,
        memory_mb=vitals.memory_mb if vitals else None,
        total_memory_mb=vitals.total_memory_mb if vitals else None,
        disk_free_mb=vitals.disk_free_mb if vitals else None,
        total_disk_mb=vitals.total_disk_mb if vitals else None,
        gpus=vitals.gpus if vitals else (),
        host_epochs_per_second=speed.host_epochs_per_second if speed else None,
        seconds=speed.seconds if speed else {},
        restarts=state.workers.restarts,
        latest_restart=f"worker {latest.worker}: {latest.reason}" if latest else None,
        empty=why_empty(state, ["vitals"], "not measured yet", shown=vitals is not None),
        speed_empty=why_empty(state, ["throughput"], "no round yet", shown=speed is not None),
    )


def _worst(state: RunState) -> Level:
    levels = [verdict.level for verdict in state.verdicts.values()]
    return max(levels, key=lambda level: level.rank, default=Level.UNKNOWN)


def _threshold(limits: Limits, level: Level) -> float:
    return limits.warning if limits.bad is None or level is not Level.BAD else limits.bad
