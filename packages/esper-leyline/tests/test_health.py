"""Rules of health: hysteresis, the order of levels, values that are not finite, stable losses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import PolicyConfig, head_sizes
from esper_leyline.actions import least_entropy
from esper_leyline.events import GpuVitals, Vitals
from esper_leyline.health import (
    CLIPPING_LIMITS,
    CRITIC_LIMITS,
    ENTROPY_LIMITS,
    GRADIENT_LIMITS,
    LEAST_ENTROPY,
    MEMORY_LIMITS,
    SPEED_LIMITS,
    Gauge,
    Level,
    Limits,
    MemoryKind,
    SpeedHistory,
    collapsed_entropy,
    entropy_above_floor,
    is_loss_stable,
    memory_uses,
)

NOT_FINITE = [math.nan, math.inf, -math.inf]
ALL_LIMITS = [
    *MEMORY_LIMITS.values(),
    SPEED_LIMITS,
    GRADIENT_LIMITS,
    CLIPPING_LIMITS,
    CRITIC_LIMITS,
    ENTROPY_LIMITS,
]

numbers = st.integers(-40, 40).map(float)


@st.composite
def limits(draw, *, least_margin=0):
    below = draw(st.booleans())
    warning, further = draw(numbers), draw(st.none() | st.integers(1, 20))
    bad = None if further is None else warning + (-further if below else further)
    return Limits(
        warning=warning,
        bad=bad,
        below=below,
        margin=float(draw(st.integers(least_margin, 20))),
        patience=draw(st.integers(1, 4)),
    )


def levels(values, limits):
    found, gauge = [], Gauge()
    for value in values:
        gauge = gauge.observe(value, limits)
        found.append(gauge.level)
    return found


def test_a_level_is_entered_after_its_patience_and_left_with_a_margin():
    entropy = Limits(warning=0.15, bad=0.05, below=True, margin=0.03, patience=2)
    low, inside, clear = 0.1, 0.16, 0.2
    assert levels([0.9, low, low], entropy) == ["ok", "ok", "warning"]
    assert levels([low, low, inside, inside, clear], entropy) == [
        *("unknown", "warning", "warning", "warning", "ok"),
    ]
    assert levels([0.9, low, 0.9, low, 0.9], entropy) == ["ok"] * 5


def test_one_bad_value_after_a_row_of_warnings_is_not_bad_yet():
    check = Limits(warning=10, bad=20, patience=3)
    assert levels([0, 10, 10, 25, 25, 25], check) == ["ok", "ok", "ok", "warning", "warning", "bad"]


def test_a_value_equal_to_its_limit_exceeds_it_only_if_high_values_are_bad():
    assert levels([10.0], Limits(warning=10.0)) == [Level.WARNING]
    assert levels([10.0], Limits(warning=10.0, below=True)) == [Level.OK]


@given(limits(), st.lists(numbers, max_size=40), st.sampled_from(NOT_FINITE), st.data())
def test_a_value_that_is_not_finite_is_bad_at_once_whatever_came_before(check, values, odd, data):
    assert levels([*values, odd], check)[-1] is Level.BAD
    after = data.draw(numbers)
    if check.within(after) is Level.OK:
        assert levels([odd, *[after] * check.patience], check)[-1] is Level.OK


@given(limits(least_margin=1), st.sampled_from(Level), st.data())
def test_values_within_the_margin_never_change_a_level(check, level, data):
    """The margin of a limit: from the limit itself to ``margin`` on its good side."""
    limit = check.bad if level is Level.BAD else check.warning
    if level is Level.UNKNOWN or limit is None:
        return
    step = check.margin / 8
    inside = st.integers(1, 7).map(lambda n: limit + n * step * (1 if check.below else -1))
    gauge = Gauge(value=0.0, level=level)
    for value in data.draw(st.lists(inside, max_size=30)):
        if check.reached(value).rank > level.rank:
            return  # the margin of ``bad`` is wider than its distance from ``warning``
        gauge = gauge.observe(value, check)
        if level is not Level.OK or check.reached(value) is Level.OK:
            assert gauge.level is level


@given(limits(), st.lists(numbers, max_size=40))
def test_a_level_changes_only_for_values_beyond_the_limit_or_better_than_the_margin(check, values):
    gauge = Gauge()
    for at, value in enumerate(values):
        before, gauge = gauge, gauge.observe(value, check)
        if gauge.worsened(before):
            last = values[max(0, at - check.patience + 1) : at + 1]
            assert len(last) == check.patience
            assert all(check.reached(each).rank >= gauge.level.rank for each in last)
        elif gauge.level.rank < before.level.rank:
            assert check.within(value).rank <= gauge.level.rank
        assert not (gauge.level is Level.OK and before.is_alarming) or gauge.recovered(before)


@given(limits(), st.lists(numbers, max_size=20), numbers, numbers)
def test_a_worse_value_never_gives_a_better_level(check, values, one, other):
    better, worse = sorted((one, other), reverse=check.below)
    gauge = Gauge()
    for value in values:
        gauge = gauge.observe(value, check)
    if gauge.level is Level.UNKNOWN:
        return  # a first good value makes the level known
    levels_after = [gauge.observe(each, check).level.rank for each in (better, worse)]
    assert levels_after == sorted(levels_after)


@given(limits(), st.lists(numbers, min_size=1, max_size=40))
def test_without_a_margin_and_patience_the_level_is_that_of_the_value(check, values):
    plain = Limits(warning=check.warning, bad=check.bad, below=check.below)
    assert levels(values, plain) == [plain.reached(value) for value in values]


def test_levels_are_ordered():
    ranks = [Level.UNKNOWN.rank, Level.OK.rank, Level.WARNING.rank, Level.BAD.rank]
    assert ranks == sorted(set(ranks))


@pytest.mark.parametrize("check", ALL_LIMITS)
def test_built_in_limits_are_ordered_and_have_a_margin(check):
    assert check.bad < check.warning if check.below else check.bad > check.warning
    assert check.margin > 0


@pytest.mark.parametrize(
    ("losses", "stable"),
    [
        ([2.0, 1.99, 1.98, 1.97], True),
        ([9.0, 2.0, 1.99, 1.98, 1.97], True),
        ([2.0, 1.99, 1.98], False),
        ([2.0, 1.93, 1.92, 1.91], False),
        ([2.0, 2.11, 2.10, 2.09], False),
        ([2.0, 2.09, 2.09, 2.09], True),
        ([0.0, 0.0, 0.0, 0.0], True),
        ([2.0, math.nan, 2.0, 2.0], False),
        ([2.0, 2.0, 2.0, math.nan], False),
        ([math.inf] * 4, False),
    ],
)
def test_a_loss_is_stable_when_each_of_its_last_falls_is_small(losses, stable):
    assert is_loss_stable(losses, 3) is stable


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20), st.integers(1, 5))
def test_stability_depends_on_the_window_only(losses, window):
    assert is_loss_stable(losses, window) is is_loss_stable(losses[-window - 1 :], window)


def test_each_kind_of_memory_is_read_and_the_fullest_gpu_is_named():
    gpus = [
        GpuVitals(index=0, name="G"),
        GpuVitals(index=1, name="G", memory_mb=10.0, total_memory_mb=100.0),
        GpuVitals(index=2, name="G", memory_mb=30.0, total_memory_mb=200.0),
    ]
    vitals = Vitals(
        memory_mb=90.0,
        total_memory_mb=100.0,
        disk_free_mb=40.0,
        total_disk_mb=100.0,
        gpus=tuple(gpus),
    )
    assert [(use.kind, use.device, use.value) for use in memory_uses(vitals)] == [
        (MemoryKind.MEMORY, "memory", 0.9),
        (MemoryKind.DISK, "disk", 40.0),
        (MemoryKind.GPU_MEMORY, "cuda:2", 0.15),
    ]
    odd = GpuVitals(index=3, name="G", memory_mb=math.nan, total_memory_mb=100.0)
    (use,) = memory_uses(Vitals(gpus=(*gpus, odd)))
    assert use.device == "cuda:3"
    assert list(memory_uses(Vitals(memory_mb=1.0, total_memory_mb=0.0))) == []
    assert list(memory_uses(Vitals(memory_mb=1.0, disk_free_mb=3.0))) == []


def test_the_usual_speed_needs_some_rounds_and_a_lasting_speed_becomes_it():
    history = SpeedHistory()
    for _ in range(4):
        history = history.add(10.0)
    assert history.usual is None
    assert history.share(5.0) is None
    history = history.add(10.0).add(math.nan)
    assert history.share(5.0) == 0.5
    for _ in range(30):
        history = history.add(2.0)
    assert history.usual == 2.0
    assert len(history.recent) == 20
    assert SpeedHistory(recent=(0.0,) * 9).share(1.0) is None


@pytest.mark.parametrize(("head", "size"), head_sizes(3).items())
def test_entropy_above_floor_is_zero_at_the_floor_and_one_for_a_uniform_choice(head, size):
    floor = PolicyConfig().floors[head]
    at_floor = [least_entropy(floor, choices) for choices in range(2, size + 1)]
    assert entropy_above_floor(1.0, floor, size) == pytest.approx(1.0)
    found = [entropy_above_floor(entropy, floor, size) for entropy in at_floor]
    assert max(found) == pytest.approx(0.0)
    assert entropy_above_floor(collapsed_entropy(floor, size), floor, size) == pytest.approx(
        LEAST_ENTROPY
    )
    assert collapsed_entropy(floor, size) > max(at_floor)


def test_a_head_without_a_floor_has_collapsed_below_the_least_entropy():
    assert collapsed_entropy(0.0, 6) == pytest.approx(LEAST_ENTROPY)
