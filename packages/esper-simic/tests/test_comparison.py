"""Evaluation statistics: by hand, by property, and against the package of their authors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from esper_simic import SimicError, evaluation
from esper_simic.evaluation import (
    Resampling,
    Verdict,
    compare,
    estimate_improvement,
    estimate_iqm,
    interquartile_mean,
    probability_of_improvement,
)

QUICK = Resampling(resamples=500)
PLAN = settings(max_examples=40, deadline=None)
shapes = st.one_of(st.tuples(st.integers(1, 9)), st.tuples(st.integers(1, 6), st.integers(1, 3)))
numbers = st.integers(-50, 50).map(float)
scores = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=numbers))
pairs = shapes.flatmap(lambda shape: st.tuples(*[arrays(np.float64, shape, elements=numbers)] * 2))


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([8, 1, 7, 2, 6, 3, 5, 4], 4.5),
        ([1, 2, 6], 3.0),
        ([0, 0, 4, 1000], 2.0),
        ([1, 2, 3, 4, 500], 3.0),
        ([[1, 100], [2, 200], [3, 300], [-900, 900]], (3 + 2 + 100 + 200) / 4),
        ([7.5], 7.5),
    ],
)
def test_interquartile_mean_by_hand(values, mean):
    assert interquartile_mean(values) == pytest.approx(mean)


@pytest.mark.parametrize(
    ("first", "second", "chance"),
    [
        ([3, 1], [2, 1], 2.5 / 4),
        ([1, 1], [1, 1, 1], 0.5),
        ([5], [1, 2, 9], 2 / 3),
        ([[5, 0], [6, 0]], [[1, 9], [2, 9]], 0.5),
    ],
)
def test_probability_of_improvement_by_hand(first, second, chance):
    assert probability_of_improvement(first, second) == pytest.approx(chance)


def test_an_interval_by_hand():
    """Two runs, 0 and 1: their resampled mean is 0, 0.5 or 1, one half of the time 0.5."""
    wide = estimate_iqm([0, 1])
    assert (wide.value, wide.low, wide.high) == (0.5, 0.0, 1.0)
    narrow = estimate_iqm([0, 1], Resampling(confidence=0.4))
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_runs_are_resampled_within_their_task():
    """Were tasks mixed, a resample could hold one task's scores only."""
    steady = estimate_iqm([[0, 10]] * 4)
    assert (steady.value, steady.low, steady.high) == (5.0, 5.0, 5.0)


def test_improvement_by_hand_paired_and_not():
    """Only the second run of one arm beats the first of the other.

    Drawn together, both must be in a resample, which then wins one pair in four. Drawn
    apart, one resample in sixteen holds nothing but that pair.
    """
    first, second = [0.0, 1.0], [0.5, 1.5]
    together = estimate_improvement(first, second)
    assert (together.value, together.low, together.high) == (0.25, 0.0, 0.25)
    apart = estimate_improvement(first, second, paired=False)
    assert (apart.value, apart.low, apart.high) == (0.25, 0.0, 1.0)


FIRST = [
    [62.1, 41.0, 88.3],
    [58.4, 39.2, 90.1],
    [70.2, 44.8, 85.0],
    [66.5, 40.3, 87.7],
    [61.0, 52.6, 89.4],
    [59.9, 38.1, 91.2],
    [72.8, 43.3, 70.5],
    [64.4, 45.9, 88.8],
    [68.1, 37.4, 86.6],
    [60.7, 42.2, 92.0],
]
SECOND = [
    [57.3, 40.1, 86.0],
    [59.0, 35.5, 88.3],
    [63.2, 46.1, 84.9],
    [61.8, 33.9, 85.5],
    [58.8, 41.7, 87.1],
    [60.5, 36.6, 88.8],
    [65.0, 39.9, 60.2],
    [55.1, 44.0, 86.4],
    [62.9, 38.0, 87.7],
    [56.6, 37.2, 83.8],
]
RLIABLE = {
    "first": (64.34375, 61.55625, 66.975),
    "second": (60.05625, 56.6375, 62.5625),
    "difference": (3.11875, 1.90625, 4.51875),
    "improvement": (0.745, 0.61, 0.86333),
}
"""What rliable 1.2.0 (arch 7.2.0, numpy 2.4.6, scipy 1.17.1, pandas 2.3.3) says of them.

``get_interval_estimates`` with ``aggregate_iqm``, 50,000 resamples, and
``probability_of_improvement``, 20,000, the arms apart; RandomState(0). With other states
its bounds move by up to 0.05 points and 0.002 of probability.
"""


def test_rliable_finds_the_same():
    many = Resampling(resamples=50_000)
    found = {
        "first": estimate_iqm(FIRST, many),
        "second": estimate_iqm(SECOND, many),
        "difference": estimate_iqm(np.subtract(FIRST, SECOND), many),
        "improvement": estimate_improvement(FIRST, SECOND, many, paired=False),
    }
    for name, (value, low, high) in RLIABLE.items():
        slack = 0.005 if name == "improvement" else 0.1
        assert found[name].value == pytest.approx(value, abs=1e-9), name
        assert found[name].low == pytest.approx(low, abs=slack), name
        assert found[name].high == pytest.approx(high, abs=slack), name


def test_intervals_cover_the_true_value_at_their_confidence():
    generator = np.random.default_rng(5)
    resampling = Resampling(resamples=1_000)
    inside = [
        not estimate_iqm(generator.normal(size=20), resampling).excludes(0.0) for _ in range(400)
    ]
    assert 0.88 < np.mean(inside) < 0.98


@PLAN
@given(scores, numbers)
def test_a_shift_shifts_the_mean_and_its_interval(values, shift):
    plain, moved = (estimate_iqm(each, QUICK) for each in (values, values + shift))
    for name in ("value", "low", "high"):
        assert getattr(moved, name) == pytest.approx(getattr(plain, name) + shift, abs=1e-9)


@PLAN
@given(scores, st.randoms(use_true_random=False))
def test_the_order_of_runs_does_not_matter(values, chance):
    order = chance.sample(range(len(values)), len(values))
    assert interquartile_mean(values[order]) == pytest.approx(interquartile_mean(values))
    assert probability_of_improvement(values, values[order]) == pytest.approx(0.5)


@PLAN
@given(scores)
def test_the_interquartile_mean_lies_in_the_middle_half(values):
    estimate, ordered = estimate_iqm(values, QUICK), np.sort(values, axis=None)
    cut = len(ordered) // 4
    assert ordered[cut] - 1e-9 <= estimate.value <= ordered[-cut - 1] + 1e-9
    assert ordered[0] <= estimate.low <= estimate.high <= ordered[-1]
    assert interquartile_mean(-values) == pytest.approx(-estimate.value)


@PLAN
@given(shapes, numbers)
def test_constant_scores_have_an_interval_of_width_zero(shape, value):
    estimate = estimate_iqm(np.full(shape, value), QUICK)
    assert estimate.value == estimate.low == estimate.high == pytest.approx(value)


@PLAN
@given(pairs)
def test_swapping_the_arms_reverses_the_verdict(both):
    forth, back = compare(*both, resampling=QUICK), compare(*both[::-1], resampling=QUICK)
    for name, whole in (("difference", 0.0), ("iqm_difference", 0.0), ("win_rate", 1.0)):
        mine, theirs = getattr(forth, name), getattr(back, name)
        assert mine.value == pytest.approx(whole - theirs.value, abs=1e-9)
        assert mine.low == pytest.approx(whole - theirs.high, abs=1e-9)
        assert mine.high == pytest.approx(whole - theirs.low, abs=1e-9)
    opposite = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    assert back.verdict is opposite.get(forth.verdict, forth.verdict)


@PLAN
@given(pairs)
def test_an_offset_of_both_arms_cancels(both):
    """A task or a seed that is easier for both changes nothing about their difference."""
    ease = np.arange(both[0].size, dtype=np.float64).reshape(both[0].shape) * 1000
    plain = compare(*both, resampling=QUICK).difference
    eased = compare(*(each + ease for each in both), resampling=QUICK).difference
    for name in ("value", "low", "high"):
        assert getattr(eased, name) == pytest.approx(getattr(plain, name), abs=1e-6)


def test_pairing_removes_the_variance_between_seeds():
    generator = np.random.default_rng(0)
    luck = generator.normal(scale=10.0, size=20)
    first, second = luck + 1 + generator.normal(scale=0.3, size=20), luck
    paired = compare(first, second)
    assert paired.verdict is Verdict.BETTER
    assert paired.difference.high - paired.difference.low < 1
    assert not estimate_improvement(first, second, paired=False).excludes(0.5)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([3, 4, 5] * 4, Verdict.BETTER),
        ([-3, -4, -5] * 4, Verdict.WORSE),
        ([-3, 4, -5, 3, -4, 5] * 2, Verdict.UNDECIDED),
        ([0] * 6, Verdict.TIED),
        ([0] * 2, Verdict.TIED),
        ([3, 4, 5] * 3 + [3, 4], Verdict.UNDECIDED),
        ([[3, 4], [5, 3], [4, 5]] * 2, Verdict.BETTER),
    ],
)
def test_verdicts(differences, verdict):
    zeros = np.zeros(np.shape(differences))
    assert compare(differences, zeros).verdict is verdict


def test_higher_confidence_needs_more_pairs():
    twelve = [3.0, 4.0, 5.0] * 4
    for confidence, least in ((0.5, 12), (0.95, 12), (0.99, 12), (0.9999, 15)):
        judged = compare(twelve, [0.0] * 12, resampling=Resampling(confidence=confidence))
        assert judged.least_pairs == least
        assert 2 / 2**least <= 1 - confidence
        assert (judged.verdict is Verdict.BETTER) == (least <= 12)


def test_a_comparison_names_its_arms_and_is_immutable():
    judged = compare([1, 2], [0, 0], names=("shaped", "sparse"))
    assert (judged.arm, judged.baseline, judged.pairs) == ("shaped", "sparse", 2)
    assert (judged.difference.value, judged.win_rate.value) == (1.5, 1.0)
    with pytest.raises(ValidationError, match="frozen"):
        judged.pairs = 3


def test_the_same_seed_gives_the_same_interval_and_another_a_similar_one():
    values = np.random.default_rng(1).normal(size=30)
    one, again, other = (estimate_iqm(values, Resampling(rng_seed=s)) for s in (1, 1, 2))
    assert one == again
    assert one != other
    assert one.low == pytest.approx(other.low, abs=0.05)


def test_large_scores_are_resampled_in_blocks(monkeypatch):
    values = np.random.default_rng(1).normal(size=(30, 3))
    whole = estimate_iqm(values, QUICK)
    monkeypatch.setattr("esper_simic.evaluation.statistics.bootstrap.BATCH", 700)
    parts = estimate_iqm(values, QUICK)
    assert parts.value == whole.value
    # The random draws of several tasks come in another order.
    assert parts.low == pytest.approx(whole.low, abs=0.1)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: interquartile_mean([]), r"scores have the shape \(0,\); give \[runs\]"),
        (lambda: interquartile_mean(3.0), r"scores have the shape \(\)"),
        (lambda: estimate_iqm(np.zeros((2, 2, 2))), r"scores have the shape \(2, 2, 2\)"),
        (lambda: estimate_iqm([1, math.nan]), "scores of run 1, task 0 are nan; score runs"),
        (lambda: probability_of_improvement([[1, 2]], [[1]]), "2 and 1 tasks; score both"),
        (lambda: compare([1, 2], [1]), r"shapes \(2, 1\) and \(1, 1\) \[runs, tasks\]; run both"),
        (lambda: compare([1], [math.inf], names=("a", "b")), "b's scores of run 0, task 0 are inf"),
        (lambda: estimate_improvement([1, 2], [1]), "paired arms have scores of shapes"),
        (lambda: Resampling(confidence=1.0), "confidence is 1.0; it lies between 0 and 1"),
        (lambda: Resampling(resamples=0), "resamples are 0; take at least 1"),
    ],
)
def test_invalid_scores_are_a_one_line_error(ask, says):
    with pytest.raises(SimicError, match=says) as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_every_public_name_exists():
    assert all(hasattr(evaluation, name) for name in evaluation.__all__)
