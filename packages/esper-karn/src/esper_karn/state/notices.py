"""Describes anomalies, lifecycle steps and changes of hosts in one line each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

from esper_karn.formatting import pluralize
from esper_karn.state.run import NOTICES, Notice, Notices
from esper_leyline import Flag
from esper_leyline.events import Event

Group = Literal["anomalies", "lifecycle", "hosts", "run"]
"""What a notice is about."""

GROUPS: tuple[Group, ...] = get_args(Group)
"""All groups."""


class NoticesDraft:
    """Notices that are being made.

    Most are dropped before anybody looks at them, so an event becomes a notice when the state is
    taken.

    Args:
        notices: What it starts from.

    Attributes:
        anomaly_count: Number of all anomalies, also of those dropped.
    """

    def __init__(self, notices: Notices) -> None:
        self.anomaly_count = notices.anomaly_count
        self._at = notices.at
        self._groups: dict[Group, deque[Notice | Event]] = {
            group: deque(getattr(notices, group), maxlen=NOTICES) for group in GROUPS
        }
        self._frozen: Notices | None = notices

    def add(self, group: Group, event: Event) -> None:
        """Adds the notice of an event, and drops the oldest one of a full group."""
        self._groups[group].append(event)
        if group == "anomalies":
            self.anomaly_count += 1
        self._at, self._frozen = event.sequence, None

    def rewind(self, rounds: int) -> None:
        """Drops what was noticed after a round; steps of the run stay."""
        for group, notices in self._groups.items():
            if group == "run":
                continue
            kept = [each for each in notices if (each.round or 0) <= rounds]
            if group == "anomalies":
                self.anomaly_count -= len(notices) - len(kept)
            self._groups[group] = deque(kept, maxlen=NOTICES)
        self._frozen = None

    def freeze(self) -> Notices:
        """Returns the notices."""
        if self._frozen is None:
            groups: dict[Group, tuple[Notice, ...]] = {
                group: tuple(_described(group, each) for each in notices)
                for group, notices in self._groups.items()
            }
            self._groups = {
                group: deque(notices, maxlen=NOTICES) for group, notices in groups.items()
            }
            self._frozen = Notices(at=self._at, anomaly_count=self.anomaly_count, **groups)
        return self._frozen


def anomaly_notice(event: Event) -> Notice | None:
    """Describes an anomaly; ``None`` for any other event."""
    text = _ANOMALIES.get(event.kind)
    return None if text is None else _notice(event, text(event.payload))


def notice_of(event: Event) -> tuple[Group, Notice] | None:
    """Returns the notice of an event with its group; ``None`` if it makes none."""
    for group, texts in _TEXTS.items():
        if event.kind in texts:
            return group, _notice(event, texts[event.kind](event.payload))
    return None


def _described(group: Group, found: Notice | Event) -> Notice:
    if isinstance(found, Notice):
        return found
    return _notice(found, _TEXTS[group][found.kind](found.payload))


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

_TEXTS: Mapping[Group, Mapping[str, Callable[[Any], str]]] = MappingProxyType(
    {"anomalies": _ANOMALIES, "lifecycle": _LIFECYCLE, "hosts": _HOSTS, "run": _RUN}
)

NOTICE_KINDS = frozenset(str(kind) for texts in _TEXTS.values() for kind in texts)
"""The kinds of event that make a notice."""
