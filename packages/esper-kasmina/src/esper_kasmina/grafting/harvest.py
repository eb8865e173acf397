"""Returns a plain PyTorch model with the outputs of a grown model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from esper_kasmina.checks import check_model
from esper_kasmina.errors import KasminaError
from esper_kasmina.grafting.grafted import Grafted, as_arguments
from esper_kasmina.grafting.harvest_build import build_harvest, unwrap_model
from esper_kasmina.grafting.harvest_check import describe_difference
from esper_kasmina.hosts.cnn import CNNHost
from esper_kasmina.hosts.gpt import GPTHost
from esper_kasmina.hosts.mlp import MLPHost
from esper_kasmina.slots.lookup import seed_slots
from esper_kasmina.slots.slot import SeedSlot
from esper_leyline import LIVE_STAGES, SeedStage

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a forward pass."""


def harvest(
    model: nn.Module,
    *,
    drop_live: bool = False,
    example_inputs: Any = None,
    verify: bool = True,
) -> nn.Module:
    """Returns a plain module with the same outputs as a grown model.

    Fossilized seeds become ``torch.fx`` graphs of torch's own layers, and there are no slots. The
    result shares no tensors with ``model``. It can be pickled, exported and trained, and can be
    loaded without Esper. A grafted model is returned as its own class, a host of ``build_host`` as
    a graph, and any other model with ``SeedSlot`` in it as its own class with plain modules in
    place of the slots. Wrappers (``torch.compile``, ``AveragedModel``,
    ``DistributedDataParallel``) are removed.

    Args:
        model: A grafted model, a host, or any module with slots in it.
        drop_live: Whether to leave out seeds that are not fossilized. The outputs are then those
            of the model without these seeds.
        example_inputs: One input, or a tuple of positional inputs, on which outputs are compared.
            ``None`` takes the inputs of the last pass with a seed in a grafted model, and makes
            inputs for a host of ``build_host``. A model with slots in its own code needs them.
        verify: Whether to compare the outputs of both models in evaluation mode.

    Raises:
        KasminaError: If the model has no slots, or has seeds that change its output but are not
            fossilized, if the outputs differ, or if there are no inputs to compare them on.
    """
    model = unwrap_model(check_model(model))
    slots = seed_slots(model)
    if not slots:
        raise KasminaError("the model has no slots to harvest; graft some, or use it as it is")
    for slot in slots:
        slot.check_tensors()
    if not drop_live:
        _check_live_seeds(slots)
    inputs = _inputs_to_compare(model, slots, example_inputs) if verify else None
    if inputs is None:
        return build_harvest(model)
    with _without_live_seeds(slots):
        return _build_and_compare(model, *inputs)


def _build_and_compare(
    model: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
) -> nn.Module:
    # The second try keeps layers in their place, which code that reads their weights needs.
    for wrap_layers in (True, False):
        plain = build_harvest(model, wrap_layers=wrap_layers)
        difference = describe_difference(model, plain, inputs, options)
        if difference is None:
            return plain
    raise KasminaError(
        f"the harvest differs from the grown model {difference}; nothing is returned. Put the "
        "slot after another submodule, or set verify=False to take the harvest as it is"
    )


def _inputs_to_compare(
    model: nn.Module, slots: tuple[SeedSlot, ...], example_inputs: Any
) -> Inputs | None:
    """Returns inputs for both models; ``None`` if no seed is built in."""
    if example_inputs is not None:
        return as_arguments(example_inputs), {}
    if not any(slot.stage is SeedStage.FOSSILIZED for slot in slots):
        return None
    if isinstance(model, Grafted):
        if model.last_inputs is None:
            raise KasminaError(
                "no forward pass was seen on which grown and harvested outputs could be compared; "
                "run one, give example_inputs, or set verify=False"
            )
        return model.last_inputs
    inputs = _make_inputs(model)
    if inputs is None:
        raise KasminaError(
            f"the {type(model).__name__} has slots in its own code, so no inputs are known on "
            "which grown and harvested outputs could be compared; give example_inputs, or say "
            "verify=False"
        )
    return inputs


def _make_inputs(model: nn.Module) -> Inputs | None:
    """Makes two random samples for a host of ``build_host``, ``None`` for other models."""
    generator = torch.Generator().manual_seed(0)
    parameter = next(model.parameters())
    if isinstance(model, CNNHost | MLPHost):
        samples = torch.randn(2, *model.spec.input_shape, generator=generator)
        return (samples.to(parameter),), {}
    if isinstance(model, GPTHost):
        shape = (2, model.spec.block)
        tokens = torch.randint(model.spec.vocabulary, shape, generator=generator)
        return (tokens.to(parameter.device),), {}
    return None


@contextmanager
def _without_live_seeds(slots: tuple[SeedSlot, ...]) -> Iterator[None]:
    with ExitStack() as stack:
        for slot in slots:
            if slot.stage is not SeedStage.FOSSILIZED:
                stack.enter_context(slot.held_out())
        yield


def _check_live_seeds(slots: tuple[SeedSlot, ...]) -> None:
    for slot in slots:
        if slot.stage in LIVE_STAGES and slot.active and slot.alpha > 0.0:
            raise KasminaError(
                f"the seed in slot '{slot.name}' is {slot.stage.name} and changes the output; "
                "fossilize or prune it first, or set drop_live=True to leave it out"
            )
