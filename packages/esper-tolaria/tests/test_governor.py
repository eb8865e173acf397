from __future__ import annotations

import math
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_leyline import GovernorCause
from esper_leyline.config.host import GovernorConfig
from esper_tolaria import EpochStats, Governor
from esper_tolaria.engine.governor import (
    LEARNED_SHARE,
    LossHistory,
    check,
    divergence_threshold,
    has_learned,
)

CLASSES = 10
CHANCE = math.log(CLASSES)
CONFIG = GovernorConfig()


def stats(val_loss: float, train_loss: float | None = None, *, finite: bool = True) -> EpochStats:
    return EpochStats(
        train_loss=val_loss if train_loss is None else train_loss,
        val_loss=val_loss,
        parameters_finite=finite,
    )


def watch(*readings: EpochStats) -> list[GovernorCause | None]:
    governor = Governor(CLASSES, CONFIG)
    alarms = [governor.observe(each) for each in readings]
    return [instability and instability.cause for instability in alarms]


broken = st.sampled_from([math.nan, math.inf, -math.inf])
ordinary = st.floats(0.01, 11.9)


@given(past=st.lists(ordinary, max_size=6), bad=broken, where=st.integers(0, 1), good=ordinary)
def test_a_non_finite_loss_is_unstable_at_once(past, bad, where, good):
    losses = [good, good]
    losses[where] = bad
    history = LossHistory(losses=tuple(past))
    _, instability = check(stats(*losses), history, classes=CLASSES, config=CONFIG)
    assert instability is not None
    assert instability.cause is GovernorCause.NON_FINITE
    assert not math.isfinite(instability.loss)
    assert instability.threshold is None


@given(past=st.lists(ordinary, max_size=6), loss=ordinary)
def test_a_non_finite_parameter_is_unstable_even_with_finite_losses(past, loss):
    history = LossHistory(losses=tuple(past))
    _, instability = check(stats(loss, finite=False), history, classes=CLASSES, config=CONFIG)
    assert instability is not None
    assert instability.cause is GovernorCause.NON_FINITE


@given(
    best=st.floats(0.05, LEARNED_SHARE * CHANCE - 1e-6),
    share=st.floats(1 - CONFIG.chance_margin + 1e-9, 1 + CONFIG.chance_margin - 1e-9),
    train=st.floats(CHANCE, 11.0),
)
def test_a_return_to_chance_is_unstable_at_once(best, share, train):
    assert watch(stats(best), stats(share * CHANCE, train)) == [
        None,
        GovernorCause.RETURN_TO_CHANCE,
    ]


@given(best=st.floats(LEARNED_SHARE * CHANCE, 3.0), epochs=st.integers(1, 8))
def test_a_loss_at_chance_before_learning_is_stable(best, epochs):
    assert watch(stats(best), *[stats(CHANCE)] * epochs) == [None] * (epochs + 1)


@given(train=st.floats(0.05, (1 - CONFIG.chance_margin) * CHANCE - 1e-6))
def test_a_validation_loss_at_chance_with_a_lower_training_loss_is_stable(train):
    assert watch(stats(1.0), stats(CHANCE, train)) == [None, None]


@given(
    losses=st.lists(
        st.tuples(st.floats(0.01, 12.0), st.floats(0.01, 0.9 * CHANCE)), min_size=1, max_size=40
    )
)
def test_ordinary_training_is_stable(losses):
    # Validation may be as noisy as it likes below the absolute limit, while training learns.
    assert set(watch(*[stats(val, train) for val, train in losses])) == {None}


@given(
    past=st.lists(ordinary, min_size=1, max_size=10),
    excess=st.floats(1.001, 100.0),
)
def test_three_consecutive_epochs_above_the_threshold_are_divergence(past, excess):
    limit = divergence_threshold(LossHistory(losses=tuple(past)), CONFIG)
    high = stats(limit * excess)
    causes = watch(*[stats(loss, 1.0) for loss in past], *[high] * CONFIG.divergence_patience)
    assert causes[len(past) :] == [None, None, GovernorCause.DIVERGENCE]


def test_an_epoch_below_the_threshold_resets_the_count():
    high, low = stats(500.0), stats(1.0)
    assert watch(low, high, high, low, high, high, low) == [None] * 7


@given(past=st.lists(ordinary, min_size=1, max_size=10))
def test_the_divergence_threshold_is_the_largest_of_three_limits(past):
    limit = divergence_threshold(LossHistory(losses=tuple(past)), CONFIG)
    candidates = (12.0, fmean(past) + 6 * pstdev(past), 3 * fmean(past))
    assert limit == pytest.approx(max(candidates))


def test_a_host_that_starts_above_the_absolute_limit_diverges():
    causes = watch(*[stats(50.0)] * 3)
    assert causes == [None, None, GovernorCause.DIVERGENCE]


def test_no_snapshot_is_taken_after_a_suspicious_epoch():
    governor = Governor(CLASSES, CONFIG)
    suspicious = []
    for loss in (1.0, 500.0, 500.0, 1.0):
        governor.observe(stats(loss))
        suspicious.append(governor.suspicious)
    assert suspicious == [False, True, True, False]


def test_suspicious_losses_do_not_raise_the_threshold():
    history = LossHistory(losses=(1.0, 1.1))
    after, _ = check(stats(1000.0), history, classes=CLASSES, config=CONFIG)
    assert after == LossHistory(losses=(1.0, 1.1), above=1)
    assert divergence_threshold(after, CONFIG) == 12.0


def test_a_host_has_learned_once_it_was_clearly_below_chance():
    assert not has_learned(LossHistory(), CLASSES)
    assert not has_learned(LossHistory(losses=(LEARNED_SHARE * CHANCE,)), CLASSES)
    assert has_learned(LossHistory(losses=(2.2, 1.7, 2.2)), CLASSES)
