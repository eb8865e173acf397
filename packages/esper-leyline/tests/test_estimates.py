"""Means and their intervals: by hand, and at the ends of what numbers can be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline.estimates import interval_of_mean, student_quantile

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=30)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999, 1 - 1e-9])
def test_quantiles_of_one_and_two_degrees_of_freedom_by_hand(confidence):
    assert student_quantile(confidence, 1.0) == pytest.approx(
        math.tan(math.pi * confidence / 2), rel=1e-6
    )
    two = confidence * math.sqrt(2 / ((1 - confidence) * (1 + confidence)))
    assert student_quantile(confidence, 2.0) == pytest.approx(two, rel=1e-9)


def test_the_quantile_of_many_degrees_of_freedom_is_the_normal_one():
    assert student_quantile(0.95, 1e7) == pytest.approx(1.959964, rel=1e-6)


def test_two_values_have_students_interval():
    found = interval_of_mean([[1.0, 3.0]])
    half = math.tan(math.pi * 0.95 / 2)  # the standard error is 1
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2 - half, 2 + half))


def test_equal_values_have_no_width_and_one_value_has_all_of_it():
    equal = interval_of_mean([[0.1] * 12])
    assert equal.low == equal.high == pytest.approx(0.1)
    assert interval_of_mean([[0.0] * 3]).high == 0.0
    one = interval_of_mean([[4.0]])
    assert (one.value, one.low, one.high) == (4.0, -math.inf, math.inf)


@given(VALUES)
def test_the_mean_lies_in_its_interval(values):
    found = interval_of_mean([values])
    assert found.low <= found.value <= found.high


@given(VALUES, st.floats(0.1, 10.0))
def test_the_interval_of_scaled_values_is_scaled(values, factor):
    plain = interval_of_mean([values])
    scaled = interval_of_mean([[factor * value for value in values]])
    size = factor * max(1.0, *map(abs, (plain.low, plain.high)))
    assert scaled.low == pytest.approx(factor * plain.low, abs=1e-6 * size)
    assert scaled.high == pytest.approx(factor * plain.high, abs=1e-6 * size)


def test_the_largest_numbers_do_not_overflow():
    largest = 1.7e308
    found = interval_of_mean([[largest, -largest, largest]])
    assert math.isfinite(found.value)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert interval_of_mean([[1e200, 2e200, 4e200]]).high > 4e200
