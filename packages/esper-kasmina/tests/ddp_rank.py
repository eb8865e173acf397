"""One rank of a model that grows under DistributedDataParallel; run by test_distributed.py.

    python ddp_rank.py MODEL RANK WORLD STORE RESULT

Each rank trains on its part of every batch while a seed grows. DDP is made again whenever the
host's revision has changed. With a world size of 1 the model trains without DDP.
"""

from __future__ import annotations

import sys

import torch
from lifecycle_helpers import raise_seed
from sample_models import SAMPLE_MODELS
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from esper_kasmina import SlottedHost, build_host, graft, sync_optimizer
from esper_leyline import Blueprint, HostOptions, SeedStage, TransformerHostSpec


def subject(name: str) -> tuple[SlottedHost, Tensor, Blueprint]:
    if name in SAMPLE_MODELS:
        sample, inputs = SAMPLE_MODELS[name], SAMPLE_MODELS[name].inputs()
        return graft(sample.make(), sample.sites, example_inputs=inputs), inputs, Blueprint.NORM
    spec = TransformerHostSpec(vocabulary=11, width=8, heads=2, layers=4, block=12)
    host = build_host(spec, HostOptions(slots=spec.slots, rng_seed=1))
    inputs = torch.randint(11, (4, 9), generator=torch.Generator().manual_seed(0))
    return host, inputs, Blueprint.ATTENTION


def train_rank(name: str, rank: int, world: int) -> dict[str, object]:
    """Trains through an empty, a TRAINING and a HOLDING slot; returns the state at the end."""
    host, inputs, blueprint = subject(name)
    axis = SAMPLE_MODELS[name].batch_axis if name in SAMPLE_MODELS else 0
    mine = inputs.chunk(world, dim=axis)[rank]
    optimizer = torch.optim.SGD(host.parameters(), lr=0.01, momentum=0.9)
    revisions = []
    for index, stage in enumerate((None, SeedStage.TRAINING, SeedStage.HOLDING)):
        if stage is not None:
            raise_seed(host, host.slots[index - 1], stage, blueprint, inputs)
        host.eval()  # batch norm would see half a batch on each rank
        sync_optimizer(optimizer, host)
        wrapped: nn.Module = DistributedDataParallel(host) if world > 1 else host
        revisions.append(host.revision)
        for _ in range(2):
            optimizer.zero_grad()
            wrapped(mine).float().square().mean().backward()
            optimizer.step()
        assert host.revision == revisions[-1]
    assert len(set(revisions)) == 3
    return host.state_dict()


def main(name: str, rank: int, world: int, store: str, result: str) -> None:
    torch.set_num_threads(1)
    if world > 1:
        method = f"file://{store}"
        distributed.init_process_group("gloo", init_method=method, rank=rank, world_size=world)
    torch.save(train_rank(name, rank, world), result)
    if world > 1:
        # A rank that exits while another still communicates with it can abort the other.
        distributed.barrier()
        distributed.destroy_process_group()


if __name__ == "__main__":
    model, index, size, shared, path = sys.argv[1:]
    main(model, int(index), int(size), shared, path)
