"""Shards seeds that germinate in a sharded model (``torch.distributed.fsdp.fully_shard``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from torch import nn
from torch.optim import Optimizer

from esper_kasmina._torch import mixed_precision_policy
from esper_kasmina.errors import KasminaError
from esper_kasmina.slots.slot import SeedSlot


def shard_new_seeds(model: nn.Module, slots: Iterable[SeedSlot]) -> None:
    """Shards each seed that is not sharded, if the model is.

    A sharded model reduces the gradients of the parameters that it had when it was sharded. Each
    rank would train a seed that germinates later on its own data only. So the seed becomes an FSDP
    module of its own on the model's device mesh, with the model's mixed precision.

    Args:
        model: The model that holds the slots.
        slots: The slots.
    """
    sharded = [p for p in model.parameters() if _is_sharded(p)]
    new_seeds = [
        slot.seed
        for slot in slots
        if slot.seed is not None and not all(map(_is_sharded, slot.seed.parameters()))
    ]
    if not sharded or not new_seeds:
        return
    # Imported here, because the import is slow and few models are sharded.
    from torch.distributed.fsdp import (  # noqa: PLC0415
        FSDPModule,
        fully_shard,
        register_fsdp_forward_method,
    )

    fsdp_modules = [module for module in model.modules() if isinstance(module, FSDPModule)]
    if not fsdp_modules:
        return  # only tensor parallelism: all ranks see the same data and hold the whole seed
    policy = mixed_precision_policy(fsdp_modules[0])
    for seed in new_seeds:
        fully_shard(seed, mesh=cast("Any", sharded[0]).device_mesh, mp_policy=policy)
        register_fsdp_forward_method(seed, "blended")


def check_sharded(optimizer: Optimizer, slots: Iterable[SeedSlot]) -> None:
    """Checks that all seeds are sharded, if the optimizer's parameters are.

    Raises:
        KasminaError: If a seed is not.
    """
    others = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(map(_is_sharded, others)):
        return
    for slot in slots:
        if slot.seed is not None and not all(map(_is_sharded, slot.seed.parameters())):
            raise KasminaError(
                f"the seed in slot '{slot.name}' is not sharded, and the optimizer's parameters "
                "are; give sync_optimizer the model instead of its slots, so that the seed is "
                "sharded like it"
            )


def _is_sharded(parameter: nn.Parameter) -> bool:
    return hasattr(parameter, "device_mesh")
