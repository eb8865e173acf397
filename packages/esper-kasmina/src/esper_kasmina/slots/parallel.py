"""Checks seeds in models that are wrapped in ``DistributedDataParallel``."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from esper_kasmina._torch import active_data_parallel, reduced_parameters
from esper_kasmina.errors import KasminaError


def check_in_running_ddp(seed: nn.Module, slot: str) -> None:
    """Checks that a seed is in the ``DistributedDataParallel`` whose forward pass runs now.

    Args:
        seed: A seed that takes part in the forward pass.
        slot: The slot's id.

    Raises:
        KasminaError: If the seed germinated after the model was wrapped.
    """
    wrapper = active_data_parallel()
    if wrapper is not None:
        _check(wrapper, seed, slot)


def check_in_ddp(model: nn.Module, seed: nn.Module, slot: str) -> None:
    """Checks the same outside of a forward pass, if the model is a ``DistributedDataParallel``.

    Raises:
        KasminaError: If the seed germinated after the model was wrapped.
    """
    if isinstance(model, DistributedDataParallel):
        _check(model, seed, slot)


def check_not_wrapped(model: nn.Module) -> None:
    """Checks that the model in which a seed will germinate is not a ``DistributedDataParallel``.

    Raises:
        KasminaError: If it is one.
    """
    if isinstance(model, DistributedDataParallel):
        raise KasminaError(
            "the model is wrapped in DistributedDataParallel, which reduces only the parameters "
            "that it had when it was made; give the model inside (model.module), and let train "
            "wrap it again whenever its revision has changed"
        )


def _check(wrapper: DistributedDataParallel, seed: nn.Module, slot: str) -> None:
    reduced = {id(parameter) for parameter in reduced_parameters(wrapper)}
    if all(id(p) in reduced or not p.requires_grad for p in seed.parameters()):
        return
    raise KasminaError(
        f"slot '{slot}' holds a seed that germinated after the model was wrapped in "
        "DistributedDataParallel, which would not average its gradients over ranks; wrap the "
        "model again whenever its revision has changed"
    )
