"""Grafted models and hosts train under DistributedDataParallel: two processes over gloo."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from esper_kasmina import graft
from esper_leyline import Blueprint, SeedStage

from .lifecycle_helpers import raise_seed
from .ranks import run_ranks
from .sample_models import SAMPLE_MODELS, tiered

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("ddp_rank.py")


@pytest.mark.parametrize("name", tiered("gpt"))
def test_two_ranks_grow_the_same_model_as_one_process(name, tmp_path):
    first, second = run_ranks(SCRIPT, tmp_path, name, 2)
    (alone,) = run_ranks(SCRIPT, tmp_path, name, 1)
    assert first.keys() == second.keys() == alone.keys()
    for key, value in first.items():
        if not key.endswith("_extra_state"):  # gradients were measured on each rank's half
            assert torch.equal(value, second[key]), key
            torch.testing.assert_close(value, alone[key], rtol=1e-3, atol=1e-5)


def test_a_germinated_seed_that_is_not_trained_yet_does_not_stop_ddp(tmp_path):
    """GERMINATED seeds are bypassed; DDP has to look for unused parameters then."""
    sample = SAMPLE_MODELS["resnet18"]
    host = graft(sample.make(), sample.sites, example_inputs=sample.inputs())
    raise_seed(host, "r0c0", SeedStage.GERMINATED, Blueprint.NORM, sample.inputs())
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        wrapped = DistributedDataParallel(host, find_unused_parameters=True)
        for _ in range(2):
            wrapped(sample.inputs()).square().mean().backward()
        assert host.slot("r0c0").seed.scale.grad is None
    finally:
        distributed.destroy_process_group()
