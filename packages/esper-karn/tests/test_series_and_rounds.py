"""Series and round histories: fixed size, exact totals."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from esper_karn import RoundHistory, RoundStats, Series
from esper_karn.state.rounds import EDGE, MERGED
from esper_karn.state.series import CAPACITY
from esper_leyline.events import Event, RoundCompleted, encode_event, parse_event

ODD = st.sampled_from([None, float("nan"), float("inf"), float("-inf")])
VALUES = st.lists(ODD | st.floats(-1e6, 1e6), max_size=4 * CAPACITY + 3)


def series_of(values):
    series = Series()
    for position, value in enumerate(values):
        series = series.add(position, value)
    return series


@given(VALUES)
@settings(max_examples=50, deadline=None)
def test_a_series_keeps_counts_extremes_and_means(values):
    series = series_of(values)
    samples = [value for value in values if value is not None]
    finite = [value for value in samples if math.isfinite(value)]
    buckets = series.buckets
    assert len(buckets) <= CAPACITY
    assert sum(bucket.samples for bucket in buckets) == len(samples)
    assert sum(bucket.finite for bucket in buckets) == len(finite)
    assert all(bucket.samples == series.stride for bucket in buckets[:-1])
    lows = [bucket.minimum for bucket in buckets if bucket.minimum is not None]
    highs = [bucket.maximum for bucket in buckets if bucket.maximum is not None]
    assert min(lows, default=None) == min(finite, default=None)
    assert max(highs, default=None) == max(finite, default=None)
    assert math.isclose(
        math.fsum(bucket.total for bucket in buckets), math.fsum(finite), abs_tol=1e-3
    )


def test_buckets_have_the_samples_of_their_positions():
    series = series_of([float(value) for value in range(3 * CAPACITY)])
    assert series.stride == 4
    assert series.latest == 3 * CAPACITY - 1
    for bucket in series.buckets:
        assert (bucket.minimum, bucket.maximum) == (bucket.first, bucket.last)
        assert bucket.mean == (bucket.first + bucket.last) / 2


@given(VALUES, st.integers(0, 5 * CAPACITY))
@settings(max_examples=50, deadline=None)
def test_a_series_that_is_rewound_and_repeated_is_the_same(values, completed):
    series = series_of(values)
    again = series.rewind(completed, at=7)
    for position, value in enumerate(values):
        if position > completed:
            again = again.add(position, value)
    assert [(b.first, b.last, b.samples, b.total) for b in again.buckets] == [
        (b.first, b.last, b.samples, b.total) for b in series.buckets
    ]


@given(VALUES, st.data())
@settings(max_examples=50, deadline=None)
def test_the_changed_tail_of_a_series_makes_it_whole(values, data):
    series, seen = Series(), ()
    known = -1
    for position, value in enumerate(values):
        series = series.add(position, value, at=position)
        if data.draw(st.booleans()):
            start = series.unchanged_until(known)
            seen = (*seen[:start], *series.buckets_from(start))
            known = position
            assert seen == series.buckets


def test_a_position_of_any_size_is_accepted():
    series = Series().add(10**30, 1.0, at=10**30).add(-5, 2.0)
    assert [bucket.samples for bucket in series.buckets] == [1]


@given(st.integers(0, 600))
@settings(max_examples=40, deadline=None)
def test_a_history_keeps_its_edges_and_every_count(rounds):
    history = RoundHistory.of(summaries(rounds))
    numbers = [
        *(each.last for each in history.head),
        *(number for block in history.middle for number in range(block.first, block.last + 1)),
        *(each.last for each in history.tail),
    ]
    assert numbers == list(range(1, rounds + 1))
    assert len(history.head) == min(rounds, EDGE)
    assert len(history.tail) == min(max(0, rounds - EDGE), EDGE)
    assert len(history.middle) <= MERGED
    total = history.total
    if rounds:
        assert total.rounds == rounds
        assert total.ops == {"WAIT": 3 * rounds} | ({"PRUNE": rounds // 2} if rounds > 1 else {})
        assert math.isclose(total.mean_return, (rounds + 1) / 2)
        assert history.last.last == rounds
    else:
        assert (total, history.last) == (None, None)


@given(st.integers(1, 60), st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_rewinding_removes_the_rounds_that_are_repeated(rounds, completed):
    history = RoundHistory.of(summaries(rounds)).rewind(completed)
    numbers = [each.last for each in (*history.head, *history.tail)]
    assert all(number <= completed for number in numbers)
    assert all(block.first <= completed for block in history.middle)


def test_rounds_that_are_repeated_after_a_resume_are_counted_once():
    rounds = summaries(300)
    history = RoundHistory.of(rounds)
    for completed in (0, 5, 40, 100, 295, 300):
        again = history.rewind(completed)
        for each in rounds[completed:]:
            again = again.add(RoundStats.of(each))
        assert again.total == history.total


def test_a_return_that_is_not_finite_is_left_out_of_the_mean():
    first, second = summaries(2)
    broken = second.model_copy(update={"mean_return": float("nan"), "mean_accuracy": None})
    total = RoundHistory.of([first, broken]).total
    assert (total.mean_return, total.returns.count, total.rounds) == (1.0, 1, 2)
    assert total.mean_accuracy == first.mean_accuracy


def test_a_round_without_a_finite_return_shows_nan_and_not_nothing():
    (summary,) = summaries(1)
    nan, inf = float("nan"), float("inf")
    broken = RoundStats.of(
        summary.model_copy(update={"mean_return": nan, "mean_accuracy": None, "best_accuracy": nan})
    )
    assert math.isnan(broken.mean_return)
    assert math.isnan(broken.best_accuracy)
    assert broken.mean_accuracy is None
    infinite = RoundStats.of(summary.model_copy(update={"mean_return": inf}))
    assert infinite.mean_return == inf
    merged = broken.merge(RoundStats.of(summary))
    assert (merged.mean_return, merged.best_accuracy) == (1.0, 60.0)


def summaries(count):
    from esper_leyline import RoundSummary

    return [
        RoundSummary(
            round=number,
            episodes=2,
            mean_return=float(number),
            mean_accuracy=50.0,
            best_accuracy=60.0,
            ops={"WAIT": 3, "PRUNE": 1} if number % 2 == 0 else {"WAIT": 3},
            germinated=1,
            fossilized=0,
            pruned=1,
            grown_parameters=10.0,
            seconds=1.0,
        )
        for number in range(1, count + 1)
    ]


def test_a_round_is_the_same_from_a_summary_as_from_a_log():
    (summary,) = summaries(1)
    summary = summary.model_copy(update={"mean_accuracy": (54.4 + 56.3) / 2})
    event = Event(sequence=0, monotonic=0.0, wall_time=0.0, payload=RoundCompleted(summary=summary))
    logged = parse_event(encode_event(event)).payload.summary
    assert logged.mean_accuracy == 55.35
    assert summary.mean_accuracy != 55.35
    assert RoundStats.of(summary) == RoundStats.of(logged)
