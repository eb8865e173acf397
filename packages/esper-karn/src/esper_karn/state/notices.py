"""Describes anomalies, lifecycle steps and changes of hosts in one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from esper_karn.formatting import pluralize
from esper_karn.state.run import NOTICES, Notice, Notices
from esper_leyline import Flag
from esper_leyline.events import Event


def anomaly_notice(event: Event) -> Notice:
    """Describes an anomaly."""
    return _notice(event, _ANOMALIES[event.kind](event.payload))


def lifecycle_notice(event: Event) -> Notice:
    """Describes a lifecycle step of a seed."""
    return _notice(event, _LIFECYCLE[event.kind](event.payload))


def host_notice(event: Event) -> Notice:
    """Describes a change of a host's accuracy or loss."""
    return _notice(event, _HOSTS[event.kind](event.payload))


def run_notice(event: Event) -> Notice:
    """Describes a step of the run itself."""
    return _notice(event, _RUN[event.kind](event.payload))


def with_notice(
    notices: Notices, group: Literal["anomalies", "lifecycle", "hosts", "run"], notice: Notice
) -> Notices:
    """Returns the notices with one more, and without the oldest of a full group."""
    groups = {
        "anomalies": notices.anomalies,
        "lifecycle": notices.lifecycle,
        "hosts": notices.hosts,
        "run": notices.run,
    }
    groups[group] = (*groups[group], notice)[-NOTICES:]
    return Notices(at=notice.sequence, anomaly_count=notices.anomaly_count, **groups)


def _notice(event: Event, text: str) -> Notice:
    return Notice(
        sequence=event.sequence,
        wall_time=event.wall_time,
        kind=str(event.kind),
        text=text,
        round=event.round,
        epoch=event.epoch,
        environment=event.environment,
    )


def _limit(threshold: float | None) -> str:
    return "" if threshold is None else f" above {threshold:.3g}"


def _flag(flag: Flag) -> str:
    return flag.kind if flag.slot is None else f"{flag.kind} in {flag.slot}"


_ANOMALIES: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "governor_rolled_back": lambda p: (
            f"rolled back to epoch {p.restored_epoch}: {p.cause.value}, loss {p.loss:.3g}"
            f"{_limit(p.threshold)}"
        ),
        "throughput_warning": lambda p: (
            f"{p.current:.3g} host epochs/s, {p.typical:.3g} is typical of this run"
        ),
        "worker_restarted": lambda p: (
            f"worker {p.worker} restarted after {p.replayed_epochs} epochs: {p.reason}"
        ),
        "numerical_instability": lambda p: f"not finite: {p.where}, {p.consecutive} in a row",
        "reward_hacking_suspected": lambda p: f"reward withheld: {_flag(p.flag)}",
        "ratio_explosion": lambda p: f"ratio {p.ratio:.3g} above {p.threshold:.3g}",
        "ratio_collapse": lambda p: f"ratio {p.ratio:.3g} below {p.threshold:.3g}",
        "value_collapse": lambda p: (
            f"explained variance {p.explained_variance:.3g} below {p.threshold:.3g}"
        ),
        "entropy_collapse": lambda p: (
            f"entropy of head {p.head} {p.entropy:.3g} below {p.threshold:.3g}"
        ),
        "gradient_pathology": lambda p: (
            f"gradient norm of {p.where} {p.norm:.3g}, threshold {p.threshold:.3g}"
        ),
        "performance_degradation": lambda p: (
            f"accuracy {p.current:.1f} % after a best of {p.best:.1f} %"
        ),
        "memory_warning": lambda p: f"{p.used_mb:,.0f} of {p.total_mb:,.0f} MB used on {p.device}",
    }
)

_HOSTS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "host_stabilized": lambda p: f"loss settled at {p.val_loss:.3g}",
        "plateau_detected": lambda p: f"no improvement for {p.epochs_without_improvement} epochs",
        "degradation_detected": lambda p: f"accuracy fell by {p.drop:.1f} points",
        "improvement_detected": lambda p: f"accuracy rose by {p.gain:.1f} points",
    }
)

_LIFECYCLE: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "seed_germinated": lambda p: (
            f"{p.slot} germinated {p.blueprint}, {p.parameters:,} parameters"
        ),
        "seed_stage_changed": lambda p: (
            f"{p.slot} {p.source.name.lower()} to {p.target.name.lower()}"
        ),
        "seed_fossilized": lambda p: f"{p.slot} fossilized {p.blueprint}",
        "seed_pruned": lambda p: f"{p.slot} pruned {p.blueprint}",
    }
)

_RUN: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "run_resumed": lambda p: (
            f"resumed from {p.checkpoint} after {pluralize(p.rounds_completed, 'round')}; "
            "later rounds are repeated"
        ),
        "run_completed": lambda p: (
            f"{p.status.value} after {pluralize(p.rounds_completed, 'round')}"
        ),
        "run_failed": lambda p: f"failed: {p.error}",
        "checkpoint_saved": lambda p: f"checkpoint {p.path} written",
        "checkpoint_loaded": lambda p: f"checkpoint {p.path} read",
    }
)
