"""Grown models train under ``fully_shard`` as they do unsharded: two ranks over gloo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("fsdp_life.py")


def run(folder: Path, when: str, world: int) -> list[dict[str, torch.Tensor]]:
    results = [folder / f"{when}-{rank}-of-{world}.pt" for rank in range(world)]
    ranks = [
        subprocess.Popen(
            [sys.executable, SCRIPT, when, str(rank), str(world), folder / "store", result],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank, result in enumerate(results)
    ]
    for rank in ranks:
        printed, _ = rank.communicate(timeout=240)
        assert rank.returncode == 0, printed
    return [torch.load(result, weights_only=True) for result in results]


@pytest.mark.parametrize("when", ["before", "after"])
def test_seeds_born_before_and_after_sharding_train_as_unsharded(when, tmp_path):
    first, second = run(tmp_path, when, 2)
    (alone,) = run(tmp_path, when, 1)
    assert first.keys() == second.keys() == alone.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
        torch.testing.assert_close(value, alone[key], rtol=1e-3, atol=1e-5, msg=key)
