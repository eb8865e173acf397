from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esper_simic.ppo.losses import (
    categorical_kl,
    clipped_surrogate,
    explained_variance,
    masked_mean,
    masked_std,
    standardize,
    value_loss,
)

LOGITS = st.floats(-8, 8)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [(1.0, 2.0, 2.0), (1.5, 2.0, 2.4), (0.5, 2.0, 1.0), (1.5, -2.0, -3.0), (0.5, -2.0, -1.6)],
)
def test_the_surrogate_is_the_pessimistic_one(ratio, advantage, expected):
    out = clipped_surrogate(torch.tensor(ratio), torch.tensor(advantage), 0.2)
    assert out.item() == pytest.approx(expected)


def test_a_clipped_ratio_has_no_gradient():
    ratio = torch.tensor([1.5, 0.5, 1.1], requires_grad=True)
    clipped_surrogate(ratio, torch.tensor([1.0, -1.0, 1.0]), 0.2).sum().backward()
    assert ratio.grad.tolist() == [0.0, 0.0, 1.0]


def test_masked_statistics_ignore_masked_values():
    values = torch.tensor([1.0, 3.0, math.nan, math.inf])
    mask = torch.tensor([True, True, False, False])
    assert masked_mean(values, mask).item() == 2
    assert masked_std(values, mask).item() == 1
    assert masked_mean(values, torch.zeros(4, dtype=torch.bool)).item() == 0
    assert masked_mean(values, mask, count=torch.tensor(4)).item() == 1
    assert standardize(values, mask).tolist() == [-1, 1, 0, 0]


def test_nearly_equal_values_are_not_scaled_up():
    values, mask = torch.tensor([1.0, 1.001]), torch.tensor([True, True])
    assert standardize(values, mask).abs().max().item() == pytest.approx(1, rel=1e-2)
    assert standardize(values, mask, smallest_std=0.05).abs().max().item() < 0.02


def test_a_single_value_is_unchanged():
    out = standardize(torch.tensor([3.0, 9.0]), torch.tensor([True, False]))
    assert out.tolist() == [3.0, 0.0]


def test_value_loss_by_hand():
    out = value_loss(
        torch.tensor([1.0, 2.0, math.nan]),
        torch.tensor([3.0, 2.0, 0.0]),
        torch.tensor([True, True, False]),
    )
    assert out.item() == pytest.approx(0.5 * (4 + 0) / 2)


def test_kl_by_hand_closed_choices_included():
    old = torch.tensor([0.5, 0.3, 0.2, 0.0]).log()
    new = torch.tensor([0.3, 0.3, 0.4, 0.0]).log()
    by_hand = 0.5 * math.log(5 / 3) + 0.2 * math.log(1 / 2)
    assert categorical_kl(old, new).item() == pytest.approx(by_hand)
    assert categorical_kl(old, old).item() == 0


@given(st.lists(st.tuples(LOGITS, LOGITS), min_size=2, max_size=6), st.integers(0, 5))
def test_kl_is_the_mean_over_samples_of_the_old_policy(pairs, closed):
    """The sum over choices is the expectation of (r - 1) - ln r, whatever is closed."""
    logits = torch.tensor(pairs, dtype=torch.float64)
    logits[closed % len(pairs)] = -torch.inf
    old, new = logits.log_softmax(dim=0).unbind(dim=1)
    kept = old > -torch.inf
    log_ratio = (new - old)[kept]
    expected = (old[kept].exp() * (torch.expm1(log_ratio) - log_ratio)).sum()
    found = categorical_kl(old, new)
    assert found.item() == pytest.approx(expected.item(), abs=1e-9)
    assert found >= -1e-12


def test_kl_has_no_heavy_tail_unlike_its_sampled_estimate():
    """A choice that the old policy hardly ever takes and the new one likes."""
    old, new = torch.tensor([0.999, 0.001]).log(), torch.tensor([0.9, 0.1]).log()
    log_ratio = new - old
    of_samples = torch.expm1(log_ratio) - log_ratio
    assert of_samples[1] > 900 * categorical_kl(old, new)


def test_explained_variance_by_hand():
    target, mask = torch.tensor([1.0, 2.0, 3.0, 99.0]), torch.tensor([True, True, True, False])
    assert explained_variance(target, target, mask).item() == pytest.approx(1)
    assert explained_variance(torch.zeros(4), target, mask).item() == pytest.approx(0)
    assert explained_variance(-target, target, mask).item() == pytest.approx(-3)
    constant = torch.full((4,), 5.0)
    assert explained_variance(target, constant, mask).isnan()
