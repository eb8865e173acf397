"""Curves and ramps of alpha."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import AlphaCurve, BlendStyle
from esper_leyline.lifecycle.alpha import AlphaRamp, curve_value

SIGMOIDS = {AlphaCurve.SIGMOID_6: 6, AlphaCurve.SIGMOID_12: 12, AlphaCurve.SIGMOID_24: 24}
shares = st.floats(0, 1)


@pytest.mark.parametrize("curve", AlphaCurve)
def test_a_curve_begins_at_zero_ends_at_one_and_is_half_way_in_the_middle(curve):
    assert curve_value(curve, 0.0) == 0.0
    assert curve_value(curve, 1.0) == 1.0
    assert curve_value(curve, 0.5) == pytest.approx(0.5)


@pytest.mark.parametrize("curve", AlphaCurve)
@given(first=shares, second=shares)
def test_a_curve_never_falls_or_leaves_the_unit_interval(curve, first, second):
    low, high = sorted((first, second))
    assert 0.0 <= curve_value(curve, low) <= curve_value(curve, high) <= 1.0


@pytest.mark.parametrize("progress", [0.05, 0.2, 0.4, 0.6, 0.8, 0.95])
def test_no_two_curves_are_equal(progress):
    values = [curve_value(curve, progress) for curve in AlphaCurve]
    assert len(values) == len(AlphaCurve)
    for one, other in itertools.combinations(values, 2):
        assert abs(one - other) > 1e-4


@pytest.mark.parametrize(("curve", "k"), SIGMOIDS.items())
@pytest.mark.parametrize("progress", [0.1, 0.3, 0.7])
def test_a_sigmoid_is_the_rescaled_logistic_of_its_steepness(curve, k, progress):
    def logistic(share):
        return 1 / (1 + math.exp(-k * (share - 0.5)))

    expected = (logistic(progress) - logistic(0)) / (logistic(1) - logistic(0))
    assert curve_value(curve, progress) == pytest.approx(expected)


def test_styles_use_their_curve():
    assert BlendStyle.SIGMOID_ADD.curve is AlphaCurve.SIGMOID_12
    assert BlendStyle.LINEAR_ADD.curve is AlphaCurve.LINEAR


@given(
    start=shares, target=shares, steps=st.integers(0, 40), curve=st.sampled_from(list(AlphaCurve))
)
def test_a_ramp_runs_from_start_to_target_exactly_and_stays(start, target, steps, curve):
    ramp = AlphaRamp(start=start, target=target, steps=steps, curve=curve)
    assert ramp.alpha == (target if steps == 0 else start)
    low, high = sorted((start, target))
    for tick in range(steps):
        assert not ramp.arrived, tick
        assert low <= ramp.alpha <= high
        ramp = ramp.stepped()
    assert ramp.arrived
    assert ramp.alpha == target
    assert ramp.stepped() == ramp
