from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_simic.ppo.learning_rate import LEAST_SCALE, adapt_scale

SCALES = st.floats(LEAST_SCALE, 1.0)
TARGETS = st.floats(1e-6, 1e6)
KLS = st.floats(0, allow_infinity=True)


@pytest.mark.parametrize(
    ("scale", "kl", "expected"),
    [
        (0.6, 0.21, 0.4),
        (0.6, 0.20, 0.6),
        (0.6, 0.05, 0.6),
        (0.6, 0.049, 0.9),
        (0.9, 0.01, 1.0),
        (0.012, 1.0, LEAST_SCALE),
        (0.6, 0.0, 0.6),
        (0.6, math.nan, 0.6),
        (0.6, math.inf, 0.4),
    ],
)
def test_the_rule_by_hand_at_a_target_of_a_tenth(scale, kl, expected):
    assert adapt_scale(scale, kl, 0.1) == pytest.approx(expected)


@given(SCALES, KLS, TARGETS)
def test_the_scale_stays_within_its_bounds(scale, kl, target):
    assert LEAST_SCALE <= adapt_scale(scale, kl, target) <= 1.0


@given(SCALES, KLS.filter(bool), KLS.filter(bool), TARGETS)
def test_a_larger_kl_never_gives_a_larger_rate(scale, one, other, target):
    near, far = sorted((one, other))
    assert adapt_scale(scale, near, target) >= adapt_scale(scale, far, target)


@given(SCALES, TARGETS, st.floats(0.5, 2.0))
def test_the_rate_does_not_change_near_the_target(scale, target, share):
    assert adapt_scale(scale, share * target, target) == scale


@given(SCALES, st.lists(KLS, max_size=60), TARGETS)
def test_the_rate_recovers_after_falling(scale, seen, target):
    for kl in seen:
        scale = adapt_scale(scale, kl, target)
    for _ in range(12):
        scale = adapt_scale(scale, target / 4, target)
    assert scale == 1.0
