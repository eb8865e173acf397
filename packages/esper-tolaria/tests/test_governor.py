from __future__ import annotations

import math
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import GovernorCause, GovernorConfig
from esper_tolaria import Governor, Reading
from esper_tolaria.governor import LEARNED_SHARE, Memory, divergence_threshold, has_learned, judge

CLASSES = 10
CHANCE = math.log(CLASSES)
CONFIG = GovernorConfig()


def reading(val_loss: float, train_loss: float | None = None, *, finite: bool = True) -> Reading:
    return Reading(
        train_loss=val_loss if train_loss is None else train_loss,
        val_loss=val_loss,
        parameters_finite=finite,
    )


def watch(*readings: Reading) -> list[GovernorCause | None]:
    governor = Governor(CLASSES, CONFIG)
    alarms = [governor.observe(each) for each in readings]
    return [alarm and alarm.cause for alarm in alarms]


broken = st.sampled_from([math.nan, math.inf, -math.inf])
ordinary = st.floats(0.01, 11.9)


@given(past=st.lists(ordinary, max_size=6), bad=broken, where=st.integers(0, 1), good=ordinary)
def test_a_broken_loss_is_an_alarm_at_once(past, bad, where, good):
    losses = [good, good]
    losses[where] = bad
    memory = Memory(losses=tuple(past))
    _, alarm = judge(reading(*losses), memory, classes=CLASSES, config=CONFIG)
    assert alarm is not None
    assert alarm.cause is GovernorCause.NON_FINITE
    assert not math.isfinite(alarm.loss)
    assert alarm.threshold is None


@given(past=st.lists(ordinary, max_size=6), loss=ordinary)
def test_a_broken_parameter_is_an_alarm_even_when_the_losses_hide_it(past, loss):
    memory = Memory(losses=tuple(past))
    _, alarm = judge(reading(loss, finite=False), memory, classes=CLASSES, config=CONFIG)
    assert alarm is not None
    assert alarm.cause is GovernorCause.NON_FINITE


@given(
    best=st.floats(0.05, LEARNED_SHARE * CHANCE - 1e-6),
    share=st.floats(1 - CONFIG.chance_margin + 1e-9, 1 + CONFIG.chance_margin - 1e-9),
    train=st.floats(CHANCE, 11.0),
)
def test_chance_after_learning_is_an_alarm_at_once(best, share, train):
    assert watch(reading(best), reading(share * CHANCE, train)) == [
        None,
        GovernorCause.RETURN_TO_CHANCE,
    ]


@given(best=st.floats(LEARNED_SHARE * CHANCE, 3.0), epochs=st.integers(1, 8))
def test_chance_before_learning_is_where_everybody_starts(best, epochs):
    assert watch(reading(best), *[reading(CHANCE)] * epochs) == [None] * (epochs + 1)


@given(train=st.floats(0.05, (1 - CONFIG.chance_margin) * CHANCE - 1e-6))
def test_a_validation_loss_at_chance_alone_is_noise(train):
    assert watch(reading(1.0), reading(CHANCE, train)) == [None, None]


@given(
    losses=st.lists(
        st.tuples(st.floats(0.01, 12.0), st.floats(0.01, 0.9 * CHANCE)), min_size=1, max_size=40
    )
)
def test_no_ordinary_training_is_ever_stopped(losses):
    # Validation may be as noisy as it likes below the absolute limit, while training learns.
    assert set(watch(*[reading(val, train) for val, train in losses])) == {None}


@given(
    past=st.lists(ordinary, min_size=1, max_size=10),
    excess=st.floats(1.001, 100.0),
)
def test_divergence_is_the_third_suspicion_running(past, excess):
    limit = divergence_threshold(Memory(losses=tuple(past)), CONFIG)
    high = reading(limit * excess)
    causes = watch(*[reading(loss, 1.0) for loss in past], *[high] * CONFIG.divergence_patience)
    assert causes[len(past) :] == [None, None, GovernorCause.DIVERGENCE]


def test_one_good_epoch_clears_the_suspicions():
    high, low = reading(500.0), reading(1.0)
    assert watch(low, high, high, low, high, high, low) == [None] * 7


@given(past=st.lists(ordinary, min_size=1, max_size=10))
def test_the_divergence_threshold_is_the_largest_of_the_three(past):
    limit = divergence_threshold(Memory(losses=tuple(past)), CONFIG)
    candidates = (12.0, fmean(past) + 6 * pstdev(past), 3 * fmean(past))
    assert limit == pytest.approx(max(candidates))


def test_a_host_that_starts_above_the_absolute_limit_diverges():
    causes = watch(*[reading(50.0)] * 3)
    assert causes == [None, None, GovernorCause.DIVERGENCE]


def test_a_suspicious_epoch_is_no_good_one():
    governor = Governor(CLASSES, CONFIG)
    suspicious = []
    for loss in (1.0, 500.0, 500.0, 1.0):
        governor.observe(reading(loss))
        suspicious.append(governor.suspicious)
    assert suspicious == [False, True, True, False]


def test_suspicious_losses_do_not_raise_the_threshold():
    memory = Memory(losses=(1.0, 1.1))
    after, _ = judge(reading(1000.0), memory, classes=CLASSES, config=CONFIG)
    assert after == Memory(losses=(1.0, 1.1), suspicions=1)
    assert divergence_threshold(after, CONFIG) == 12.0


def test_learned_means_clearly_better_than_guessing():
    assert not has_learned(Memory(), CLASSES)
    assert not has_learned(Memory(losses=(LEARNED_SHARE * CHANCE,)), CLASSES)
    assert has_learned(Memory(losses=(2.2, 1.7, 2.2)), CLASSES)
