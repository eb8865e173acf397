from __future__ import annotations

import math

import pytest
import torch

from esper_simic.losses import (
    clipped_surrogate,
    explained_variance,
    joint_kl,
    masked_mean,
    masked_std,
    standardize,
    value_loss,
)


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


def test_masked_statistics_ignore_whatever_lies_under_the_mask():
    values = torch.tensor([1.0, 3.0, math.nan, math.inf])
    mask = torch.tensor([True, True, False, False])
    assert masked_mean(values, mask).item() == 2
    assert masked_std(values, mask).item() == 1
    assert masked_mean(values, torch.zeros(4, dtype=torch.bool)).item() == 0
    assert masked_mean(values, mask, count=torch.tensor(4)).item() == 1
    assert standardize(values, mask).tolist() == [-1, 1, 0, 0]


def test_values_that_hardly_differ_are_not_blown_up():
    values, mask = torch.tensor([1.0, 1.001]), torch.tensor([True, True])
    assert standardize(values, mask).abs().max().item() == pytest.approx(1, rel=1e-2)
    assert standardize(values, mask, smallest_std=0.05).abs().max().item() < 0.02


def test_a_single_value_is_left_as_it_is():
    out = standardize(torch.tensor([3.0, 9.0]), torch.tensor([True, False]))
    assert out.tolist() == [3.0, 0.0]


def test_value_loss_by_hand():
    out = value_loss(
        torch.tensor([1.0, 2.0, math.nan]),
        torch.tensor([3.0, 2.0, 0.0]),
        torch.tensor([True, True, False]),
    )
    assert out.item() == pytest.approx(0.5 * (4 + 0) / 2)


def test_kl_is_zero_for_the_same_policy_and_estimates_the_true_one():
    steps = torch.ones(3, dtype=torch.bool)
    assert joint_kl(torch.zeros(3), steps).item() == 0
    old, new = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.3, 0.3, 0.4])
    samples = torch.multinomial(
        old, 200_000, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    log_ratio = (new.log() - old.log())[samples]
    true = (old * (old.log() - new.log())).sum().item()
    estimate = joint_kl(log_ratio, torch.ones_like(log_ratio, dtype=torch.bool)).item()
    assert estimate == pytest.approx(true, rel=0.02)


def test_kl_reads_nothing_under_the_mask():
    out = joint_kl(torch.tensor([0.0, math.nan]), torch.tensor([True, False]))
    assert out.item() == 0


def test_explained_variance_by_hand():
    target, mask = torch.tensor([1.0, 2.0, 3.0, 99.0]), torch.tensor([True, True, True, False])
    assert explained_variance(target, target, mask).item() == pytest.approx(1)
    assert explained_variance(torch.zeros(4), target, mask).item() == pytest.approx(0)
    assert explained_variance(-target, target, mask).item() == pytest.approx(-3)
    constant = torch.full((4,), 5.0)
    assert explained_variance(target, constant, mask).isnan()
