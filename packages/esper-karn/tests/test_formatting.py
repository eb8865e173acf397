"""Numbers, durations, ages and text as every view formats them."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esper_karn.formatting import (
    format_age,
    format_count,
    format_duration,
    format_index,
    format_mean,
    format_number,
    format_signed,
    format_significant,
    pluralize,
)
from esper_leyline import printable

NUMBERS = st.one_of(st.floats(), st.integers(), st.integers(-(10**400), 10**400))
WRITTEN = re.compile(r"NaN|[+-]?inf|[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?(e-?\d+)?")


@given(value=NUMBERS, digits=st.integers(0, 3), sign=st.booleans())
@example(value=1e308, digits=2, sign=True)
@example(value=-0.0, digits=2, sign=True)
@example(value=-0.001, digits=2, sign=False)
@example(value=10**400, digits=0, sign=False)
def test_any_number_is_short_and_correct(value, digits, sign):
    text = format_number(value, digits, sign=sign)
    assert WRITTEN.fullmatch(text), text
    assert len(text) <= 16
    assert not re.fullmatch(r"-0(\.0+)?", text)
    if isinstance(value, float) and math.isnan(value):
        assert text == "NaN"
    elif "e" not in text:
        assert abs(float(text.replace(",", "")) - value) <= 0.5001 * 10.0**-digits or math.isinf(
            value
        )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "+inf"),
        (float("-inf"), "-inf"),
        (1e308, "+1.0e308"),
        (-1e308, "-1.0e308"),
        (1e-320, "+0.00"),
        (-0.0, "+0.00"),
        (-0.004, "+0.00"),
        (10**400, "+1.0e400"),
        (None, "–"),
    ],
)
def test_unusual_numbers_are_words_or_short(value, text):
    assert format_signed(value) == text


def test_leading_digits_of_any_magnitude():
    values = [0.00123456, 1e-320, -0.0, 1e308, float("nan"), float("inf"), 10**400, None]
    assert [format_significant(value) for value in values] == [
        *("0.00123", "1e-320", "0", "1.0e308", "NaN", "inf", "1.0e400", "–")
    ]


@given(value=NUMBERS)
def test_counts_durations_and_ages_of_any_number(value):
    for text in (
        format_count(value),
        format_mean(value),
        format_duration(value),
        format_age(value),
    ):
        assert text
        assert len(text) <= 40
    if isinstance(value, int):
        assert len(format_index(value)) <= 16
        assert pluralize(value, "line")


def test_negative_durations_and_ages():
    assert format_duration(-5) == "-0:05"
    assert format_duration(-3725) == "-1:02:05"
    assert format_duration(1e308) == "1.0e308 s"
    assert format_duration(float("nan")) == "NaN s"
    assert format_age(-5) == "0 s ago"
    assert format_age(-7200) == "2 h in the future"
    assert format_age(59.7) == "1 min ago"


@given(st.text(st.characters(categories=["C", "Z", "L", "N", "P", "S", "M"])))
@example("\x1b]0;title\x07\x9b31m\u202e\u2066\n\r\t\x00\udcff\u2028")
def test_printable_text_has_only_visible_characters(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text
