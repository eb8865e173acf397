"""A telemetry that passes events on, and adds those that the rules find in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from esper_leyline.events import AnyPayload, EpochCompleted, RoundCompleted, Throughput, Vitals
from esper_leyline.ports import Telemetry
from esper_nissa.monitor.hosts import HostThresholds, HostTrend, observe_epoch
from esper_nissa.monitor.machine import MemoryGauges, SpeedTrend, observe_memory, observe_speed
from esper_nissa.monitor.rounds import AccuracyThresholds, AccuracyTrend, observe_accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorThresholds:
    """The limits of the rules for hosts and rounds.

    Those for memory and speed are in ``esper_leyline.health``, because readers of a log use them.
    """

    hosts: HostThresholds = field(default_factory=HostThresholds)
    accuracy: AccuracyThresholds = field(default_factory=AccuracyThresholds)


class Monitor:
    """Implements ``Telemetry``: passes every event on, followed by what the rules find in it.

    ``host_stabilized``, ``plateau_detected``, ``degradation_detected`` and
    ``improvement_detected`` follow the epochs of a host, ``performance_degradation`` and
    ``throughput_warning`` the rounds of a run, ``memory_warning`` the vitals. A found event has
    the round, epoch and environment of the event it was found in.

    Epochs and rounds come from one thread; vitals may come from another.

    Args:
        telemetry: Where events go.
        thresholds: The limits of the rules.
    """

    def __init__(self, telemetry: Telemetry, thresholds: MonitorThresholds | None = None) -> None:
        self._telemetry = telemetry
        self._thresholds = thresholds or MonitorThresholds()
        # By environment: the round of its episode, and the episode.
        self._hosts: dict[int | None, tuple[int | None, HostTrend]] = {}
        self._accuracy = AccuracyTrend()
        self._speed = SpeedTrend()
        self._memory: MemoryGauges = {}
        self._rules: Mapping[str, Callable[[Any, int | None, int | None], Iterator[AnyPayload]]] = {
            "epoch_completed": self._epoch,
            "round_completed": self._round,
            "throughput": self._throughput,
            "vitals": self._vitals,
        }

    def emit(
        self,
        payload: AnyPayload,
        *,
        round: int | None = None,
        epoch: int | None = None,
        environment: int | None = None,
    ) -> None:
        """Passes an event on, then emits what the rules find in it."""
        emit = self._telemetry.emit
        emit(payload, round=round, epoch=epoch, environment=environment)
        rule = self._rules.get(payload.kind)
        if rule is not None:
            for found in rule(payload, round, environment):
                emit(found, round=round, epoch=epoch, environment=environment)

    def _epoch(
        self, payload: EpochCompleted, number: int | None, environment: int | None
    ) -> Iterator[AnyPayload]:
        last, trend = self._hosts.get(environment, (None, HostTrend()))
        if last != number:
            trend = HostTrend()
        host = payload.host
        trend, changes = observe_epoch(
            trend, host.val_loss, host.val_accuracy, self._thresholds.hosts
        )
        self._hosts[environment] = (number, trend)
        yield from changes

    def _round(
        self, payload: RoundCompleted, _number: int | None, _environment: int | None
    ) -> Iterator[AnyPayload]:
        self._accuracy, warning = observe_accuracy(
            self._accuracy, payload.summary.mean_accuracy, self._thresholds.accuracy
        )
        if warning is not None:
            yield warning

    def _throughput(
        self, payload: Throughput, _number: int | None, _environment: int | None
    ) -> Iterator[AnyPayload]:
        self._speed, warning = observe_speed(self._speed, payload.host_epochs_per_second)
        if warning is not None:
            yield warning

    def _vitals(
        self, payload: Vitals, _number: int | None, _environment: int | None
    ) -> Iterator[AnyPayload]:
        self._memory, warnings = observe_memory(self._memory, payload)
        yield from warnings
