"""Verdicts: hysteresis, NaN, and where they come from."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from esper_karn import CHECKS, fold
from esper_karn.state.health import judge
from esper_leyline.events import Event, GpuVitals, RunResumed, Throughput, Vitals
from esper_leyline.health import Level


def verdicts(name, values):
    found, verdict = [], None
    for at, value in enumerate(values):
        verdict = judge(name, verdict, value, at)
        found.append(verdict.level)
    return found


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_never_ok(name, value):
    assert verdicts(name, [value]) == [Level.BAD]


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_has_ordered_thresholds_and_one_sentence(name):
    check = CHECKS[name]
    limits = check.limits
    assert limits.bad is not None
    assert limits.bad < limits.warning if limits.below else limits.bad > limits.warning
    assert re.fullmatch(r"[A-Z][^.]*(\.\w[^.]*)*\.", check.advice)


def event(sequence, payload, **envelope):
    return Event(
        **{"run_id": "r", "monotonic": sequence, "wall_time": sequence, **envelope},
        sequence=sequence,
        payload=payload,
    )


def test_an_update_is_checked_against_the_thresholds(run_of):
    state = fold(run_of(4))
    assert state.verdicts["critic"].level is Level.OK
    assert state.verdicts["kl"].value == pytest.approx(0.004)
    assert state.verdicts["updates"].level is Level.OK
    skipped = fold(run_of(3))
    assert skipped.verdicts["updates"].level is Level.WARNING
    assert skipped.verdicts["updates"].where == "the loss is not finite"
    assert skipped.verdicts["kl"].value == pytest.approx(0.002)


def test_memory_names_the_fullest_gpu():
    gpus = tuple(
        GpuVitals(index=index, name="G", memory_mb=used, total_memory_mb=100.0)
        for index, used in ((1, 97.5), (0, 10.0))
    )
    sample = Vitals(memory_mb=10.0, total_memory_mb=100.0, gpus=gpus)
    found = fold([event(0, sample), event(1, sample)]).verdicts
    assert (found["memory"].level, found["memory"].value) == (Level.OK, 0.1)
    gpu = found["gpu_memory"]
    assert (gpu.level, gpu.value, gpu.where) == (Level.WARNING, 0.975, "cuda:1")


def test_a_run_without_an_epoch_for_long_is_stalled(run_of):
    events = [each for each in run_of(4, end=False) if each.kind != "round_completed"]
    speed = Throughput(host_epochs_per_second=1.0, seconds={})
    run = {"run_id": events[0].run_id}
    last = events[-1]
    events.append(event(last.sequence + 1, speed, **run, round=4))
    beat = event(last.sequence + 2, Vitals(cpu_percent=1.0), **run)
    soon = replace(beat, monotonic=last.monotonic + 5)
    late = replace(beat, monotonic=last.monotonic + 200)
    assert fold([*events, soon]).verdicts["stalled"].level is Level.OK
    assert fold([*events, late]).verdicts["stalled"].level is Level.WARNING


def rounds(speeds, **envelope):
    first = envelope.pop("first", 0)
    return [
        event(
            first + number,
            Throughput(host_epochs_per_second=value, seconds={}),
            round=first + number,
            **envelope,
        )
        for number, value in enumerate(speeds)
    ]


def test_slow_rounds_are_compared_with_the_usual_speed():
    verdict = fold(rounds([10.0, 11.0, 10.0, 11.0, 10.0, 2.0, 2.0])).verdicts["throughput"]
    assert (verdict.level, verdict.value) == (Level.UNKNOWN, 0.2)
    verdict = fold(rounds([10.0, 11.0, 10.0, 11.0, 10.0, 2.0, 2.0, 2.0])).verdicts["throughput"]
    assert (verdict.level, verdict.value) == (Level.BAD, 0.2)
    assert "throughput" not in fold(rounds([10.0, 11.0, 2.0, 2.0, 2.0])).verdicts


def test_the_checks_start_again_with_the_process_that_continues_a_run():
    """It may run on a slower machine, which has another usual speed and other memory."""
    fast = rounds([10.0] * 10)
    full = event(10, Vitals(memory_mb=99.0, total_memory_mb=100.0))
    again = event(11, full.payload)
    state = fold([*fast, full, again])
    assert state.verdicts["memory"].level is Level.BAD
    resumed = event(12, RunResumed(checkpoint="a", rounds_completed=1), boot=1)
    state = fold([resumed, *rounds([1.0] * 9, first=13, boot=1)], state)
    memory = state.verdicts["memory"]
    assert (memory.level, memory.value) == (Level.UNKNOWN, None)
    assert state.verdicts["throughput"].level is Level.OK
