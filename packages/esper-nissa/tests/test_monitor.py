"""The rules over a run's events: when an alarm starts, when it ends, and what is said."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import RoundSummary
from esper_leyline.events import (
    EpochCompleted,
    GpuVitals,
    RoundCompleted,
    RunResumed,
    Throughput,
    Vitals,
)
from esper_leyline.health import Limits
from esper_leyline.reports import HostReport
from esper_nissa import Monitor
from esper_nissa.monitor.hosts import HostThresholds, HostTrend, observe_epoch
from esper_nissa.monitor.machine import SpeedTrend, observe_memory, observe_speed
from esper_nissa.monitor.rounds import AccuracyThresholds, AccuracyTrend, observe_accuracy


class Recorded:
    """A telemetry that keeps what it was given."""

    def __init__(self):
        self.events = []

    def emit(self, payload, *, round=None, epoch=None, environment=None):
        self.events.append((payload.kind, round, epoch, environment))

    @property
    def kinds(self):
        return [kind for kind, *_ in self.events]


def host_changes(accuracies, losses=None, thresholds=None):
    """What is found in an episode, by epoch."""
    trend, found = HostTrend(), []
    losses = losses or [1.0 / (epoch + 1) for epoch in range(len(accuracies))]
    for epoch, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), start=1):
        trend, changes = observe_epoch(trend, loss, accuracy, thresholds or HostThresholds())
        found += [(epoch, change) for change in changes]
    return found


@given(st.lists(st.sampled_from([70.0, 74.9, 72.1, 73.5, 77.0]), max_size=60))
def test_accuracy_that_swings_between_the_limits_is_reported_at_most_once(accuracies):
    """Within the margin of the fall a state stays as it is."""
    fall = Limits(warning=10.0, margin=8.0)
    thresholds = HostThresholds(window=1, fall=fall, rise_points=10.0)
    kinds = [change.kind for _, change in host_changes(accuracies, thresholds=thresholds)]
    assert kinds.count("plateau_detected") <= 1
    assert "degradation_detected" not in kinds
    assert "improvement_detected" not in kinds


@given(st.lists(st.floats(0, 100) | st.none() | st.just(math.nan), max_size=60))
def test_plateaus_and_falls_alternate_with_what_ends_them(accuracies):
    changes = [change for _, change in host_changes(accuracies)]
    kinds = [change.kind for change in changes]
    # Each plateau and each fall is said once until a rise ends it.
    assert kinds.count("plateau_detected") + kinds.count("degradation_detected") <= (
        2 * kinds.count("improvement_detected") + 2
    )
    assert kinds.count("host_stabilized") <= 1
    assert all(change.drop >= 5 for change in changes if change.kind == "degradation_detected")


def test_a_plateau_is_reported_once_and_a_clear_rise_ends_it():
    found = host_changes([60.0] * 12 + [61.0] * 5 + [64.0] * 10)
    assert [(epoch, change.kind) for epoch, change in found] == [
        (8, "plateau_detected"),
        (18, "improvement_detected"),
        (25, "plateau_detected"),
    ]
    assert found[0][1].epochs_without_improvement == 5
    assert found[1][1].gain == pytest.approx(2.0)


def test_a_fall_is_measured_from_the_best_and_its_recovery_from_the_lowest():
    found = host_changes(
        [60.0, 61.0, 62.0, 63.0, 45.0, 44.0, 44.0, 63.0, 64.0, 64.0],
        thresholds=HostThresholds(plateau=Limits(warning=20, margin=20)),
    )
    fall, rise = found
    assert fall[0] == 5
    assert fall[1].kind == "degradation_detected"
    assert fall[1].drop == pytest.approx(62.0 - (62 + 63 + 45) / 3)
    assert rise[0] == 10
    assert rise[1].kind == "improvement_detected"
    assert rise[1].gain == pytest.approx((63 + 64 + 64) / 3 - (45 + 44 + 44) / 3)


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [
        ([2.0, 1.99, 1.98, 1.97, 1.97], 4),
        ([2.0, 1.5, 1.49, 1.48, 1.47], 5),
        ([2.0, 1.8, 1.6, 1.4, 1.2], None),
        ([2.0, 2.2, 2.4, 2.7, 3.0], None),
        ([2.0, math.nan, 1.99, 1.98, 1.97], 5),
    ],
)
def test_a_host_settles_when_three_relative_falls_are_small(losses, epoch):
    accuracies = [10.0 * number for number in range(1, 6)]
    found = [at for at, change in host_changes(accuracies, losses) if "stab" in change.kind]
    assert found == ([] if epoch is None else [epoch])


def test_accuracy_far_below_its_best_for_some_rounds_is_reported_once():
    trend, found = AccuracyTrend(), []
    accuracies = [70.0] * 6 + [50.0] * 10 + [70.0] * 6 + [50.0] * 10
    for number, accuracy in enumerate(accuracies, start=1):
        trend, warning = observe_accuracy(trend, accuracy, AccuracyThresholds())
        if warning is not None:
            found.append((number, warning.best, round(warning.current, 1)))
    assert found == [(10, 70.0, 54.0), (26, 70.0, 54.0)]


@given(st.lists(st.floats(60.1, 64.9), min_size=5, max_size=40))
def test_rounds_that_differ_by_less_than_the_limit_raise_no_alarm(accuracies):
    trend = AccuracyTrend()
    for accuracy in accuracies:
        trend, warning = observe_accuracy(trend, accuracy, AccuracyThresholds())
        assert warning is None


def speeds(values):
    trend, found = SpeedTrend(), []
    for number, value in enumerate(values, start=1):
        trend, warning = observe_speed(trend, value)
        if warning is not None:
            found.append((number, warning.current, warning.typical))
    return found


def test_slow_rounds_are_reported_once_and_a_new_speed_becomes_typical():
    assert speeds([10.0] * 6 + [4.0] * 2 + [10.0] * 3) == []
    assert speeds([10.0] * 6 + [4.0] * 30) == [(9, 4.0, 10.0)]
    assert speeds([10.0] * 20 + [4.0] * 5 + [10.0] * 3 + [4.0] * 5) == [
        (23, 4.0, 10.0),
        (31, 4.0, 10.0),
    ]
    assert speeds([1.0, 100.0, 100.0, 1.0, 1.0]) == []  # nothing is typical yet


@given(st.lists(st.floats(5.1, 10.0), max_size=60))
def test_speeds_within_a_factor_of_two_raise_no_alarm(values):
    assert speeds(values) == []


def test_a_speed_that_falls_further_is_reported_again():
    assert speeds([10.0] * 15 + [4.0] * 3 + [1.0] * 4) == [(18, 4.0, 10.0), (21, 1.0, 10.0)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_speed_that_is_not_a_number_is_reported(value):
    ((at, current, typical),) = speeds([10.0] * 6 + [value] + [10.0] * 3)
    assert (at, typical) == (7, 10.0)
    assert not math.isfinite(current)


def memory_of(share):
    return Vitals(memory_mb=share * 1000.0, total_memory_mb=1000.0)


def gpu_of(share):
    return GpuVitals(index=0, name="G", memory_mb=share * 1000.0, total_memory_mb=1000.0)


def disk_of(free):
    return Vitals(disk_free_mb=free, total_disk_mb=1_000_000.0)


@pytest.mark.parametrize(
    ("device", "samples", "found"),
    [
        (
            "memory",
            [memory_of(each) for each in (0.93, 0.5, 0.93, 0.93, 0.9, 0.93, 0.5, 0.93, 0.93)],
            [3, 8],
        ),
        ("memory", [memory_of(each) for each in (0.93, 0.93, 0.98, 0.93, 0.98, 0.98)], [1, 5]),
        ("cuda:0", [Vitals(gpus=(gpu_of(0.95),))] * 5, []),
        ("cuda:0", [Vitals(gpus=(gpu_of(0.98),))] * 5, [1]),
        ("disk", [disk_of(40_000.0)] * 3, []),
        ("disk", [disk_of(1900.0)] * 3 + [disk_of(2050.0)] * 3 + [disk_of(1900.0)] * 3, [1]),
        ("disk", [disk_of(1900.0)] * 2 + [disk_of(150.0)] * 2, [1, 3]),
        ("memory", [Vitals(memory_mb=5.0, total_memory_mb=0.0)] * 2, []),
    ],
)
def test_memory_beyond_its_limits_is_reported_once(device, samples, found):
    gauges, warned = {}, []
    for number, vitals in enumerate(samples):
        gauges, warnings = observe_memory(gauges, vitals)
        assert {each.device for each in warnings} <= {device}
        warned += [number] * len(warnings)
    assert warned == found


def epoch_of(accuracy, loss=1.0):
    host = HostReport(seeds=(), host_parameters=1, val_loss=loss, val_accuracy=accuracy)
    return EpochCompleted(host=host)


def summary(number, accuracy):
    return RoundCompleted(
        summary=RoundSummary(
            round=number,
            episodes=1,
            mean_return=0.0,
            mean_accuracy=accuracy,
            best_accuracy=accuracy,
            ops={},
            germinated=0,
            fossilized=0,
            pruned=0,
            grown_parameters=0.0,
            seconds=1.0,
        )
    )


def test_every_event_is_passed_on_before_the_findings_it_causes():
    telemetry = Recorded()
    monitor = Monitor(telemetry)
    monitor.emit(RunResumed(checkpoint="a", rounds_completed=1))
    for epoch in range(1, 9):
        for environment in (0, 1):
            accuracy = 60.0 if environment else 60.0 + 5 * epoch
            monitor.emit(epoch_of(accuracy), round=1, epoch=epoch, environment=environment)
    assert telemetry.kinds.count("epoch_completed") == 16
    assert [each for each in telemetry.events if each[0] == "host_stabilized"] == [
        ("host_stabilized", 1, 4, 0),
        ("host_stabilized", 1, 4, 1),
    ]
    assert telemetry.events[-1] == ("plateau_detected", 1, 8, 1)
    assert telemetry.events[-2] == ("epoch_completed", 1, 8, 1)


def test_a_new_round_is_a_new_host():
    telemetry = Recorded()
    monitor = Monitor(telemetry)
    for number in (1, 2):
        for epoch in range(1, 6):
            monitor.emit(epoch_of(60.0), round=number, epoch=epoch, environment=0)
    assert telemetry.kinds.count("host_stabilized") == 2
    assert "plateau_detected" not in telemetry.kinds


def test_rounds_and_vitals_are_watched():
    telemetry = Recorded()
    monitor = Monitor(telemetry)
    for number in range(1, 21):
        slow = number > 12
        monitor.emit(summary(number, 40.0 if slow else 80.0), round=number)
        speed = 1.0 if slow else 10.0
        monitor.emit(Throughput(host_epochs_per_second=speed, seconds={}), round=number)
    assert telemetry.events.count(("throughput_warning", 15, None, None)) == 1
    assert telemetry.kinds.count("performance_degradation") == 1
    gpu = GpuVitals(index=1, name="some GPU", memory_mb=99.0, total_memory_mb=100.0)
    unknown = GpuVitals(index=0, name="some GPU")
    for _ in range(3):
        monitor.emit(
            Vitals(memory_mb=50.0, total_memory_mb=100.0, gpus=(unknown, gpu), disk_free_mb=1.0)
        )
    assert telemetry.kinds.count("memory_warning") == 1
