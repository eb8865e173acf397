"""Grown models train under ``fully_shard`` as they do unsharded: two ranks over gloo."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from .ranks import run_ranks

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("fsdp_rank.py")


@pytest.mark.parametrize("when", ["before", "after"])
def test_seeds_that_germinated_before_and_after_sharding_train_as_unsharded(when, tmp_path):
    first, second = run_ranks(SCRIPT, tmp_path, when, 2)
    (alone,) = run_ranks(SCRIPT, tmp_path, when, 1)
    assert first.keys() == second.keys() == alone.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
        torch.testing.assert_close(value, alone[key], rtol=1e-3, atol=1e-5, msg=key)
