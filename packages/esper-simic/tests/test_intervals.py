"""Intervals of means and of win rates: by hand, and by how often they are wrong."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from esper_leyline.estimates import student_quantile
from esper_simic import SimicError
from esper_simic.evaluation import (
    Resampling,
    Verdict,
    compare,
    estimate_iqm,
    estimate_mean,
    estimate_win_rate,
)

sys.path.insert(0, str(Path(__file__).parent))
from null_differences import NULLS

QUARTER = "+15 on a quarter, sd 1"
HIDDEN = [15.0, 15.5, 15.0, 0.6, -0.6, 0.4, 0.2, -0.2, 0.0, 0.5, 0.1, 0.3]
"""Twelve hosts, of which growing helps a quarter by 15 points."""


def false_verdicts(name: str, pairs: int, samples: int) -> float:
    """Returns the share of samples with a true mean of 0 whose interval leaves it out, in %."""
    drawn = NULLS[name](np.random.default_rng(7), (samples, pairs))
    return 100 * float(np.mean([estimate_mean(each).excludes(0.0) for each in drawn]))


@pytest.mark.parametrize("name", NULLS)
@pytest.mark.parametrize("pairs", [12, 20])
def test_verdicts_are_rarely_false(name: str, pairs: int) -> None:
    # 5 %, and two standard errors of 1,000 samples.
    assert false_verdicts(name, pairs, 1_000) <= 6.5


@pytest.mark.slow
@pytest.mark.parametrize("name", NULLS)
@pytest.mark.parametrize("pairs", [12, 20, 40])
def test_verdicts_are_rarely_false_in_many_samples(name: str, pairs: int) -> None:
    assert false_verdicts(name, pairs, 20_000) <= 6.0


@pytest.mark.parametrize("pairs", [6, 8])
def test_fewer_than_twelve_pairs_may_miss_a_quarter_of_the_hosts(pairs: int) -> None:
    """Why a verdict takes 12: what was not seen is in no interval."""
    assert false_verdicts(QUARTER, pairs, 1_000) > 9
    drawn = NULLS[QUARTER](np.random.default_rng(7), (50, pairs))
    assert {compare(each, np.zeros(pairs)).verdict for each in drawn} == {Verdict.UNDECIDED}


def test_an_interval_of_six_normal_differences_covers_the_mean() -> None:
    assert false_verdicts("normal", 6, 2_000) <= 6
    drawn = NULLS["normal"](np.random.default_rng(7), (300, 6))
    quick = Resampling(resamples=300)
    before = np.mean([estimate_iqm(each, quick).excludes(0.0) for each in drawn])
    assert before > 0.065  # the interval that verdicts had before is wrong more often


def test_the_mean_shows_effects_that_the_interquartile_mean_hides() -> None:
    judged = compare(HIDDEN, np.zeros(12))
    assert judged.difference.value == pytest.approx(3.9, abs=0.05)
    assert judged.iqm_difference.value == pytest.approx(0.5, abs=0.2)
    assert judged.difference.high > 10
    assert judged.win_rate.value == pytest.approx(9.5 / 12)


def test_symmetric_scores_have_students_interval() -> None:
    scores = np.arange(-6.0, 7.0)
    found = estimate_mean(scores + 2)
    half = stats.t.ppf(0.975, 12) * stats.sem(scores)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2 - half, 2 + half))


def test_an_interval_of_skewed_scores_extends_towards_their_tail() -> None:
    found = estimate_mean(HIDDEN)
    assert found.high - found.value > 1.2 * (found.value - found.low)
    mirrored = estimate_mean(np.negative(HIDDEN))
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_the_correction_by_hand() -> None:
    """Hall's g at the bound that was found is Student's quantile."""
    scores = np.array(HIDDEN)
    found, pairs, error = estimate_mean(scores), len(scores), stats.sem(scores)
    k = stats.skew(scores, bias=False) / math.sqrt(pairs)
    t = (found.value - found.high) / error
    transformed = t + k / 3 * t**2 + k**2 / 27 * t**3 + k / 6
    assert transformed == pytest.approx(-stats.t.ppf(0.975, pairs - 1), rel=1e-6)


def test_tasks_have_equal_weight_and_their_own_variance() -> None:
    runs = np.random.default_rng(3).normal(size=(15, 2))
    found = estimate_mean(np.add(runs, [0.0, 100.0]))
    plain = estimate_mean(runs)
    assert found.value == pytest.approx(plain.value + 50)
    assert found.high - found.low == pytest.approx(plain.high - plain.low)


def test_intervals_of_equal_scores_and_of_one_score() -> None:
    equal, one = estimate_mean([0.1] * 12), estimate_mean([4.0])
    assert equal.low == equal.high == pytest.approx(0.1)
    assert (one.value, one.low, one.high) == (4.0, -math.inf, math.inf)


def test_win_rates_by_hand() -> None:
    found = estimate_win_rate([1, 2, 3, 4], [0, 2, 4, 0])
    assert found.value == pytest.approx(2.5 / 4)
    wilson = stats.binomtest(9, 12).proportion_ci(method="wilson")
    found = estimate_win_rate([1.0] * 9 + [-1.0] * 3, [0.0] * 12)
    assert (found.value, found.low, found.high) == pytest.approx((0.75, wilson.low, wilson.high))


def test_win_rates_are_paired() -> None:
    """Every host gains a little, whatever it started from: unpaired that is hardly seen."""
    start = np.arange(20.0) * 10
    assert estimate_win_rate(start + 1, start).value == 1.0


def test_invalid_arguments_are_a_one_line_error() -> None:
    for ask in (lambda: estimate_mean([1, 2], 1.0), lambda: estimate_win_rate([1], [2], 0.0)):
        with pytest.raises(SimicError, match=r"confidence is .*between 0 and 1"):
            ask()
    with pytest.raises(SimicError, match="run both on the same seeds"):
        estimate_win_rate([1, 2], [1])


@pytest.mark.parametrize("freedom", [1.0, 1.7, 5.0, 11.0, 12.5, 100.0, 12_345.6])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.9999])
def test_the_quantile_without_scipy_is_that_of_scipy(freedom: float, confidence: float) -> None:
    expected = stats.t.ppf((1 + confidence) / 2, freedom)
    assert student_quantile(confidence, freedom) == pytest.approx(expected, rel=1e-9)
