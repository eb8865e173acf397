"""Verdicts: hysteresis, NaN, and where they come from."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_karn import CHECKS, Level, fold
from esper_karn.state.health import judge
from esper_leyline.events import Event, GpuVitals, Throughput, Vitals


def verdicts(name, values):
    found, verdict = [], None
    for at, value in enumerate(values):
        verdict = judge(name, verdict, value, at)
        found.append(verdict.level)
    return found


def test_a_level_is_entered_after_its_patience_and_left_with_a_margin():
    low, inside, clear = 0.1, 0.16, 0.2  # warning below 0.15, margin 0.03, patience 2
    assert CHECKS["entropy"].patience == 2
    assert verdicts("entropy", [0.9, low, low]) == ["ok", "ok", "warning"]
    assert verdicts("entropy", [low, low, inside, inside, clear]) == ["ok", *["warning"] * 3, "ok"]
    assert verdicts("entropy", [low, 0.9, low, 0.9]) == ["ok"] * 4


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_never_ok(name, value):
    assert verdicts(name, [value]) == [Level.BAD]


@pytest.mark.parametrize("name", CHECKS)
@given(data=st.data())
def test_values_within_the_margin_never_change_a_level(name, data):
    check = CHECKS[name]
    if not check.margin:
        return
    away = -1.0 if check.below else 1.0
    beyond = check.warning + away * min(check.margin, abs(check.bad - check.warning) / 4)
    near = [check.warning + away * share * check.margin for share in (-0.9, -0.5, -0.1)]
    values = [beyond] * check.patience
    values += data.draw(st.lists(st.sampled_from(near), max_size=20))
    assert verdicts(name, values)[check.patience - 1 :] == [Level.WARNING] * (
        len(values) - check.patience + 1
    )


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_has_ordered_thresholds_and_one_sentence(name):
    check = CHECKS[name]
    assert check.bad < check.warning if check.below else check.bad > check.warning
    assert re.fullmatch(r"[A-Z][^.]*(\.\w[^.]*)*\.", check.advice)


def event(sequence, payload, **envelope):
    return Event(
        **{"run_id": "r", "monotonic": sequence, "wall_time": sequence, **envelope},
        sequence=sequence,
        payload=payload,
    )


def test_an_update_is_judged(run_of):
    state = fold(run_of(4))
    assert state.verdicts["critic"].level is Level.OK
    assert state.verdicts["kl"].value == pytest.approx(0.004)
    assert state.verdicts["updates"].level is Level.OK
    skipped = fold(run_of(3))
    assert skipped.verdicts["updates"].level is Level.WARNING
    assert skipped.verdicts["updates"].where == "the loss is not finite"
    assert skipped.verdicts["kl"].value == pytest.approx(0.002)


def test_memory_names_the_fullest_device():
    gpus = (GpuVitals(index=1, name="G", memory_mb=98.0, total_memory_mb=100.0),)
    sample = Vitals(memory_mb=10.0, total_memory_mb=100.0, gpus=gpus)
    verdict = fold([event(0, sample)]).verdicts["memory"]
    assert (verdict.level, verdict.value, verdict.where) == (Level.BAD, 0.98, "GPU 1")


def test_a_run_without_an_epoch_for_long_is_stalled(run_of):
    events = [each for each in run_of(4, end=False) if each.kind != "round_completed"]
    speed = Throughput(host_epochs_per_second=1.0, seconds={})
    run = {"run_id": events[0].run_id}
    last = events[-1]
    events.append(event(last.sequence + 1, speed, **run, round=4))
    beat = event(last.sequence + 2, Vitals(cpu_percent=1.0), **run)
    soon = beat.model_copy(update={"monotonic": last.monotonic + 5})
    late = beat.model_copy(update={"monotonic": last.monotonic + 200})
    assert fold([*events, soon]).verdicts["stalled"].level is Level.OK
    assert fold([*events, late]).verdicts["stalled"].level is Level.WARNING


def test_a_slow_round_is_compared_with_the_usual_speed():
    speeds = [10.0, 11.0, 10.0, 2.0]
    samples = [
        event(number, Throughput(host_epochs_per_second=value, seconds={}), round=number)
        for number, value in enumerate(speeds)
    ]
    verdict = fold(samples).verdicts["throughput"]
    assert (verdict.level, verdict.value) == (Level.BAD, 0.2)
