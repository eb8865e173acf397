from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_tamiyo import masked_categorical
from esper_tamiyo.distributions import gumbel_noise

finite = st.floats(-1e4, 1e4, width=32)


def assert_close(actual, expected, *, atol=1e-5, rtol=1e-5, msg=""):
    # Importing torch.testing would cost five seconds.
    assert torch.allclose(actual, expected, atol=atol, rtol=rtol), (msg, actual, expected)


@st.composite
def rows(draw):
    count = draw(st.integers(1, 13))
    logits = draw(st.lists(finite, min_size=count, max_size=count))
    mask = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    mask[draw(st.integers(0, count - 1))] = True
    return torch.tensor(logits, requires_grad=True), torch.tensor(mask), draw(st.floats(0.0, 0.9))


@settings(deadline=None)
@given(rows())
def test_closed_choices_have_no_probability_and_open_ones_at_least_the_floor(row):
    logits, mask, floor = row
    distribution = masked_categorical(logits, mask, floor)
    assert distribution.probs.dtype == torch.float32
    assert (distribution.probs[~mask] == 0.0).all()
    assert (distribution.log_probs[~mask] == -math.inf).all()
    assert distribution.probs.sum().item() == pytest.approx(1.0, abs=1e-5)
    least = floor / int(mask.sum())
    assert (distribution.probs[mask] >= least * (1 - 1e-5)).all()
    assert distribution.choices == mask.sum()


@settings(deadline=None)
@given(rows())
def test_the_mixture_is_the_documented_one(row):
    logits, mask, floor = row
    inside = torch.softmax(logits.double()[mask], dim=0)
    expected = (1 - floor) * inside + floor / int(mask.sum())
    probs = masked_categorical(logits, mask, floor).probs[mask]
    assert_close(probs.double(), expected, atol=1e-6, rtol=1e-5)


@settings(deadline=None)
@given(rows())
def test_gradients_are_finite_and_exactly_zero_where_closed(row):
    logits, mask, floor = row
    distribution = masked_categorical(logits, mask, floor)
    chosen = mask.nonzero()[0, 0]
    (distribution.log_prob(chosen) + distribution.entropy).backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad[~mask] == 0.0).all()


@settings(deadline=None)
@given(rows())
def test_entropy_is_a_share_and_zero_without_a_choice(row):
    logits, mask, floor = row
    entropy = masked_categorical(logits, mask, floor).entropy.item()
    assert -1e-6 <= entropy <= 1 + 1e-5
    if int(mask.sum()) == 1:
        assert entropy == 0.0


def test_uniform_logits_have_entropy_one_whatever_is_closed():
    mask = torch.tensor([[True] * 5, [True, False, True, False, False]])
    entropy = masked_categorical(torch.zeros(2, 5), mask, 0.1).entropy
    assert_close(entropy, torch.ones(2))


def test_open_logits_get_gradient():
    logits = torch.zeros(4, requires_grad=True)
    mask = torch.tensor([True, True, False, True])
    masked_categorical(logits, mask, 0.1).log_prob(torch.tensor(1)).backward()
    assert logits.grad[1] > 0 > logits.grad[0]


def test_a_single_open_choice_has_probability_one():
    logits = torch.tensor([3.0, -2.0], requires_grad=True)
    distribution = masked_categorical(logits, torch.tensor([False, True]), 0.12)
    log_prob = distribution.log_prob(torch.tensor(1))
    assert log_prob == 0.0
    log_prob.backward()
    assert (logits.grad == 0.0).all()


def test_half_precision_logits_are_computed_in_float32():
    logits = torch.tensor([1.0, 2.0, 3.0])
    mask = torch.ones(3, dtype=torch.bool)
    low = masked_categorical(logits.half(), mask, 0.1)
    assert low.probs.dtype == torch.float32
    assert torch.equal(low.probs, masked_categorical(logits, mask, 0.1).probs)


def test_a_row_without_an_open_choice_is_nan():
    distribution = masked_categorical(torch.zeros(3), torch.zeros(3, dtype=torch.bool), 0.1)
    assert distribution.probs.isnan().all()


def test_samples_follow_the_probabilities():
    logits = torch.tensor([0.0, 1.0, 5.0, -1.0]).expand(20_000, 4)
    mask = torch.tensor([True, True, False, True]).expand(20_000, 4)
    distribution = masked_categorical(logits, mask, 0.2)
    noise = gumbel_noise((20_000, 4), torch.Generator().manual_seed(3))
    shares = torch.bincount(distribution.pick(noise), minlength=4) / 20_000
    assert shares[2] == 0
    assert_close(shares, distribution.probs[0], atol=0.015, rtol=0)


def test_greedy_takes_the_most_probable_open_choice():
    logits = torch.tensor([[0.0, 9.0, 1.0]])
    mask = torch.tensor([[True, False, True]])
    assert masked_categorical(logits, mask, 0.5).pick().tolist() == [2]


def test_noise_is_finite_and_follows_its_generator():
    first, second = (gumbel_noise((1000, 8), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.isfinite().all()
