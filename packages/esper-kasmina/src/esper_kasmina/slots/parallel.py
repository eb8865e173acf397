"""Seeds in models that ``DistributedDataParallel`` wraps."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from esper_kasmina._torch import active_data_parallel, reduced_parameters
from esper_kasmina.errors import KasminaError


def check_reduced(seed: nn.Module, slot: str) -> None:
    """Checks that the gradients of a seed are reduced over ranks, where those of its model are.

    Args:
        seed: It takes part in a forward pass that runs now.
        slot: The slot's id.

    Raises:
        KasminaError: If the pass runs in a ``DistributedDataParallel`` made before its birth.
    """
    wrapper = active_data_parallel()
    if wrapper is not None:
        _check(wrapper, seed, slot)


def check_wrapper(model: nn.Module, seed: nn.Module, slot: str) -> None:
    """The same for a model that may be such a wrapper, outside of a pass."""
    if isinstance(model, DistributedDataParallel):
        _check(model, seed, slot)


def check_not_wrapped(model: nn.Module) -> None:
    """Refuses a wrapper as the model in which a seed germinates.

    Raises:
        KasminaError: If it is one.
    """
    if isinstance(model, DistributedDataParallel):
        raise KasminaError(
            "the model is wrapped in DistributedDataParallel, which reduces the parameters that "
            "it had when it was made; give the model in it, and let train wrap that again "
            "whenever its revision has moved"
        )


def _check(wrapper: DistributedDataParallel, seed: nn.Module, slot: str) -> None:
    reduced = {id(parameter) for parameter in reduced_parameters(wrapper)}
    if all(id(p) in reduced or not p.requires_grad for p in seed.parameters()):
        return
    raise KasminaError(
        f"slot '{slot}' holds a seed that germinated after the model was wrapped in "
        "DistributedDataParallel, which would train it on each rank apart; wrap the model "
        "again whenever its revision has moved"
    )
