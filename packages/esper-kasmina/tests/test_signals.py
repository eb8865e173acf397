"""Layers for signals compute the same as torch's layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool1d

from esper_kasmina.layers.signals import SignalConvolution, SignalNorm, max_pool_2x


@pytest.mark.parametrize(("kernel", "groups"), [(1, 1), (3, 1), (3, 4), (5, 2)])
def test_convolutions_equal_torchs(kernel, groups):
    arguments = {"padding": kernel // 2, "groups": groups, "bias": False}
    ours, theirs = (
        kind(4, 8, kernel, **arguments).double() for kind in (SignalConvolution, nn.Conv1d)
    )
    ours.load_state_dict(theirs.state_dict())
    signal = torch.randn(3, 4, 9, dtype=torch.float64)
    torch.testing.assert_close(ours(signal), theirs(signal))


@pytest.mark.parametrize("training", [True, False])
def test_norms_equal_torchs(training):
    ours, theirs = SignalNorm(4).double(), nn.BatchNorm1d(4).double()
    for norm in (ours, theirs):
        norm.train(training)
    signal = 3 * torch.randn(3, 4, 9, dtype=torch.float64) + 1
    torch.testing.assert_close(ours(signal), theirs(signal))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("length", [8, 9])
def test_max_pooling_equals_torchs(length):
    signal = torch.randn(3, 4, length)
    assert torch.equal(max_pool_2x(signal), max_pool1d(signal, 2))
