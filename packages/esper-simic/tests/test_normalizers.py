from __future__ import annotations

from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esper_simic import ReturnScale, RewardScaler, RunningMoments, ValueNormalizer

numbers = st.lists(st.floats(min_value=-1e3, max_value=1e3), min_size=1, max_size=20)


@given(st.lists(numbers, min_size=1, max_size=5))
def test_moments_of_batches_are_those_of_all_values_together(batches):
    moments = RunningMoments()
    for batch in batches:
        moments.update(torch.tensor(batch, dtype=torch.float64))
    together = torch.tensor(list(chain(*batches)), dtype=torch.float64)
    assert moments.count == len(together)
    assert moments.mean == pytest.approx(together.mean().item(), abs=1e-6)
    std = together.std(correction=0).item()
    if std > 1e-3:
        assert moments.std == pytest.approx(std, rel=1e-4)


def test_equal_values_are_not_scaled():
    moments = RunningMoments()
    assert moments.std == 1
    moments.update(torch.full((5,), 3.0))
    assert (moments.mean, moments.std) == (3.0, 1.0)
    moments.update(torch.empty(0))
    assert moments.count == 5


def test_targets_are_normalized_and_converted_back():
    values = ValueNormalizer()
    returns = torch.tensor([1.0, 3.0, 5.0, 7.0])
    values.update(returns)
    targets = values.normalize(returns)
    assert targets.mean().item() == pytest.approx(0, abs=1e-6)
    assert targets.std(correction=0).item() == pytest.approx(1)
    scale = ReturnScale(mean=values.mean, std=values.std, critic_scale=2.0, reward_scale=4.0)
    assert torch.allclose(scale.rewards(targets), returns * 2)
    assert torch.allclose(scale.scaled(targets), returns / 2)
    assert scale.spread == pytest.approx(values.std / 2)


def test_a_disabled_normalizer_changes_nothing():
    values, rewards = ValueNormalizer(enabled=False), RewardScaler(0.9, enabled=False)
    values.update(torch.tensor([1.0, 50.0]))
    valid = torch.ones(2, 1, dtype=torch.bool)
    rewards.update(torch.tensor([[1.0], [50.0]]), valid, ~valid)
    assert (values.mean, values.std, rewards.scale) == (0, 1, 1)


def test_reward_scale_is_the_deviation_of_the_running_return():
    scaler = RewardScaler(0.5)
    rewards = torch.tensor([[1.0, 9.0], [2.0, 9.0]])
    valid = torch.tensor([[True, False], [True, False]])
    scaler.update(rewards, valid, torch.zeros_like(valid))
    assert scaler.scale == pytest.approx(0.75)


def test_state_is_saved_and_loaded():
    first, second = ValueNormalizer(), ValueNormalizer()
    first.update(torch.tensor([1.0, 2.0, 5.0]))
    second.load_state_dict(first.state_dict())
    assert (first.mean, first.std) == (second.mean, second.std)
    scaler, copy = RewardScaler(0.9), RewardScaler(0.9)
    valid = torch.ones(2, 1, dtype=torch.bool)
    scaler.update(torch.tensor([[1.0], [2.0]]), valid, ~valid)
    copy.load_state_dict(scaler.state_dict())
    assert scaler.scale == copy.scale != 1
