"""One rank of a model that grows under ``fully_shard``; run by test_fsdp.py.

    python fsdp_rank.py WHEN RANK WORLD STORE RESULT

A seed germinates ``before`` the model is sharded, or ``after``. Each rank trains on its part of
every batch. With a world size of 1 the model trains unsharded on whole batches.
"""

from __future__ import annotations

import sys

import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import mse_loss

from esper_kasmina import GradientObserver, graft, sync_optimizer
from esper_leyline import Advance, Blueprint, Germinate, LifecycleRules, Prune, SeedCommand

INPUTS = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))


def train_rank(when: str, rank: int, world: int) -> dict[str, object]:
    """Grows and prunes a seed; returns parameters before and after the prune, and a norm."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 2))
    rules = LifecycleRules(min_prune_age=0)
    host = graft(model, {"r0c0": "0", "r0c1": "2"}, example_inputs=INPUTS, rules=rules)
    if when == "before":
        germinate(host, "r0c0")
    if world > 1:
        mesh = distributed.device_mesh.init_device_mesh("cpu", (world,))
        fully_shard(model[2], mesh=mesh)
        fully_shard(host, mesh=mesh)
    optimizer = torch.optim.SGD(host.parameters(), lr=0.05, momentum=0.9)
    sync_optimizer(optimizer, host)
    train(host, optimizer, rank, world)
    germinate(host, "r0c1")
    sync_optimizer(optimizer, host)
    train(host, optimizer, rank, world)
    norm = host.slot("r0c1").report().gradient_norm
    host.slot("r0c1").tick()
    result = host.slot("r0c1").apply_command(Advance())
    assert result.accepted, result.reason
    host.slot("r0c1").tick()
    train(host, optimizer, rank, world)
    full = {name: full_value(parameter) for name, parameter in host.named_parameters()}
    ramp_down(host, optimizer, rank, world)
    train(host, optimizer, rank, world)
    after = {f"pruned.{name}": full_value(parameter) for name, parameter in host.named_parameters()}
    return {**full, **after, "norm": torch.tensor(norm)}


def ramp_down(host, optimizer, rank: int, world: int) -> None:
    """Prunes the seed over two epochs, in which it is frozen."""
    slot = host.slot("r0c1")
    result = slot.apply_command(Prune(ticks=2))
    assert result.accepted, result.reason
    while slot.occupied:
        sync_optimizer(optimizer, host)
        train(host, optimizer, rank, world)
        slot.tick()
    sync_optimizer(optimizer, host)


def germinate(host, slot: str) -> None:
    for command in (Germinate(blueprint=Blueprint.LORA), Advance()):
        result = host.apply_command(SeedCommand(slot=slot, command=command))
        assert result.accepted, result.reason


def train(host, optimizer, rank: int, world: int) -> None:
    mine = INPUTS.chunk(world)[rank]
    with GradientObserver(optimizer, host) as observed:
        for _ in range(3):
            mse_loss(host(mine), mine[:, :2] * mine[:, 2:4]).backward()
            nn.utils.clip_grad_norm_(host.parameters(), 10.0)
            optimizer.step()
            optimizer.zero_grad()
    assert observed.missing == ()


def full_value(parameter: nn.Parameter) -> torch.Tensor:
    full = getattr(parameter, "full_tensor", None)
    return parameter.detach().clone() if full is None else full().detach()


def main(when: str, rank: int, world: int, store: str, result: str) -> None:
    torch.set_num_threads(1)
    if world > 1:
        method = f"file://{store}"
        distributed.init_process_group("gloo", init_method=method, rank=rank, world_size=world)
    torch.save(train_rank(when, rank, world), result)
    if world > 1:
        # A rank that exits while another still communicates with it can abort the other.
        distributed.barrier()
        distributed.destroy_process_group()


if __name__ == "__main__":
    chosen, index, size, shared, path = sys.argv[1:]
    main(chosen, int(index), int(size), shared, path)
