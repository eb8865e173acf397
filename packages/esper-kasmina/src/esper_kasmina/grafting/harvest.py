"""Plain PyTorch out of a grown model: fossils built in, no slots, nothing of Esper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from esper_kasmina._torch import COMPILED
from esper_kasmina.blueprints.tokens.flex_attention import FlexAttention
from esper_kasmina.checks import check_model
from esper_kasmina.errors import KasminaError
from esper_kasmina.grafting.copies import copy_model
from esper_kasmina.grafting.grafted import Grafted, as_arguments
from esper_kasmina.grafting.harvest_check import describe_difference
from esper_kasmina.grafting.harvest_hooks import add_hook, can_be_wrapped, wrap
from esper_kasmina.hosts.cnn import CNNHost
from esper_kasmina.hosts.gpt import GPTHost
from esper_kasmina.hosts.mlp import MLPHost
from esper_kasmina.hosts.sequential import SequentialHost
from esper_kasmina.layers.branch_norms import BranchNorm2d, BranchNorm3d
from esper_kasmina.layers.signals import SignalConvolution, SignalNorm
from esper_kasmina.layers.tracing import trace
from esper_kasmina.optim.groups import seed_slots
from esper_kasmina.slots.seed import Seed
from esper_kasmina.slots.slot import SeedSlot
from esper_leyline import LIVE_STAGES, SeedStage

_OWN_LAYERS = (SignalConvolution, SignalNorm, BranchNorm2d, BranchNorm3d)
"""Layers with a ``plain`` form, which is torch's own."""


def harvest(
    model: nn.Module,
    *,
    drop_live: bool = False,
    example_inputs: Any = None,
    verify: bool = True,
) -> nn.Module:
    """Returns a grown model as a plain module with the same outputs.

    Fossilized seeds are built in as ``torch.fx`` graphs over torch's own layers; slots are
    gone. What is returned shares nothing with ``model``, can be pickled, exported and
    trained on, and needs no Esper to be loaded. A grafted model comes back as its own
    class, a host of ``build_host`` as a graph, any other model with ``SeedSlot`` in it as
    its own class with plain modules in their places. Wrappers (``torch.compile``,
    ``AveragedModel``, ``DistributedDataParallel``) are taken off.

    Args:
        model: A grafted model, a host, or any module with slots in it.
        drop_live: Whether to leave out seeds that are not fossilized; the outputs are
            then those of the model without them.
        example_inputs: One input, or a tuple of positional ones, to compare outputs on.
            ``None`` takes those of the grafted model's last pass with a seed in it, and
            makes some for a host of ``build_host``. A model with slots in its own code
            needs them.
        verify: Whether to compare the outputs of both models, in evaluation mode.

    Raises:
        KasminaError: If the model has no slots, or seeds that are blended in but not
            fossilized, if the outputs differ, or if there are no inputs to compare them
            on.
    """
    model = _unwrapped(check_model(model))
    slots = seed_slots(model)
    if not slots:
        raise KasminaError("the model has no slots to harvest; graft some, or use it as it is")
    for slot in slots:
        slot.check_tensors()
    if not drop_live:
        _check_settled(slots)
    inputs = _inputs_to_compare(model, slots, example_inputs) if verify else None
    if inputs is None:
        return _harvested(model)
    with _live_seeds_out(slots):
        return _compared(model, *inputs)


def _harvested(model: nn.Module, *, wrapping: bool = True) -> nn.Module:
    if isinstance(model, Grafted):
        return _harvest_grafted(model, wrapping=wrapping)
    if isinstance(model, SequentialHost):
        return _harvest_sequential(model)
    return _harvest_in_place(model, wrapping=wrapping)


def _compared(model: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> nn.Module:
    # Code that reads a layer's weight, say, needs the layer itself under its name.
    for wrapping in (True, False):
        plain = _harvested(model, wrapping=wrapping)
        difference = describe_difference(model, plain, inputs, options)
        if difference is None:
            return plain
    raise KasminaError(
        f"the harvest differs from the grown model {difference}; nothing is returned. Put the "
        "slot after another submodule, or say verify=False to take the harvest as it is"
    )


def _unwrapped(model: nn.Module) -> nn.Module:
    while True:
        # The class of compiled modules is slow to import.
        compiled = dict(model.named_children()).get(COMPILED)
        if compiled is not None:
            model = compiled
        elif isinstance(model, AveragedModel | DataParallel | DistributedDataParallel):
            model = model.module
        else:
            return model


def _inputs_to_compare(
    model: nn.Module, slots: tuple[SeedSlot, ...], example_inputs: Any
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    if example_inputs is not None:
        return as_arguments(example_inputs), {}
    fossils = [slot.name for slot in slots if slot.stage is SeedStage.FOSSILIZED]
    if not fossils:
        return None
    if isinstance(model, Grafted):
        if model.last_inputs is None:
            raise KasminaError(
                "no forward pass was seen on which grown and harvested outputs could be compared; "
                "run one, give example_inputs, or say verify=False"
            )
        return model.last_inputs
    inputs = _made_inputs(model)
    if inputs is None:
        raise KasminaError(
            f"the {type(model).__name__} has slots in its own code, so no inputs are known on "
            "which grown and harvested outputs could be compared; give example_inputs, or say "
            "verify=False"
        )
    return inputs


def _made_inputs(host: nn.Module) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Makes two samples for a host of ``build_host``; others keep no description of theirs."""
    generator = torch.Generator().manual_seed(0)
    example = next(host.parameters())
    if isinstance(host, CNNHost | MLPHost):
        images = torch.randn(2, *host.spec.input_shape, generator=generator)
        return (images.to(example),), {}
    if isinstance(host, GPTHost):
        shape = (2, host.spec.block)
        tokens = torch.randint(host.spec.vocabulary, shape, generator=generator)
        return (tokens.to(example.device),), {}
    return None


@contextmanager
def _live_seeds_out(slots: tuple[SeedSlot, ...]) -> Iterator[None]:
    with ExitStack() as stack:
        for slot in slots:
            if slot.stage is not SeedStage.FOSSILIZED:
                stack.enter_context(slot.held_out())
        yield


def _check_settled(slots: tuple[SeedSlot, ...]) -> None:
    for slot in slots:
        if slot.stage in LIVE_STAGES and slot.active and slot.alpha > 0.0:
            raise KasminaError(
                f"the seed in slot '{slot.name}' is {slot.stage.name} and changes the output; "
                "fossilize or prune it first, or say drop_live=True to leave it out"
            )


def _harvest_grafted(grafted: Grafted, *, wrapping: bool) -> nn.Module:
    copied = copy_model(grafted)
    hooks = [
        (hook, handle)
        for hook, handle in copied.slot_hooks
        if hook.slot.stage is SeedStage.FOSSILIZED
    ]
    kept = []
    for hook, handle in hooks:
        seed = _plain(hook.slot)
        lone = can_be_wrapped(copied.model.get_submodule(hook.path), handle)
        if wrapping and lone and hook.output is None:
            handle.remove()
            wrap(copied.model, hook.path, seed)
        else:
            add_hook(copied.model, hook, seed, handle)
            kept.append(handle)
    return _unwrapped(copied.release(keep=kept))


def _harvest_sequential(host: SequentialHost) -> nn.Module:
    copied = copy_model(host)
    seeds = [_fossil(slot) for _, slot in copied.slotted_blocks]
    grown = {
        slot.name: seed
        for (_, slot), seed in zip(copied.slotted_blocks, seeds, strict=True)
        if slot is not None and seed is not None
    }
    del copied.seed_slots
    copied.grown = nn.ModuleDict(grown)
    _make_plain(copied)
    return _traced(
        _HarvestedHost(copied, [block for block, _ in copied.slotted_blocks], seeds), copied
    )


def _harvest_in_place(model: nn.Module, *, wrapping: bool) -> nn.Module:
    copied = copy_model(model)
    for name, module in list(copied.named_modules()):
        if isinstance(module, Grafted):
            copied.set_submodule(name, _harvest_grafted(module, wrapping=wrapping))
    for name, module in list(copied.named_modules()):
        if isinstance(module, SeedSlot):
            fossil = module.stage is SeedStage.FOSSILIZED
            copied.set_submodule(name, _plain(module) if fossil else nn.Identity())
    return copied


def _fossil(slot: SeedSlot | None) -> Seed | None:
    return slot.seed if slot is not None and slot.stage is SeedStage.FOSSILIZED else None


def _plain(slot: SeedSlot) -> fx.GraphModule:
    """Returns a fossil as a graph over torch's own layers."""
    seed = _fossil(slot)
    assert seed is not None
    _make_plain(seed)
    return fx.GraphModule(seed, trace(seed), class_name="GrownSeed")


def _make_plain(module: nn.Module) -> None:
    """Replaces our own layers by torch's, which tracing keeps as they are."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _OWN_LAYERS):
                setattr(parent, name, child.plain())
            elif isinstance(child, FlexAttention):
                child.portable = True


class _HarvestedHost(nn.Module):
    """A host's forward pass with seeds in the place of slots."""

    def __init__(
        self, host: SequentialHost, blocks: list[nn.Module], seeds: list[Seed | None]
    ) -> None:
        super().__init__()
        self.host = host
        self._steps = tuple(zip(blocks, seeds, strict=True))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.host.embed(inputs)
        for block, seed in self._steps:
            hidden = block(hidden)
            if seed is not None:
                hidden = seed(hidden)
        return self.host.head(hidden)


def _traced(harvested: _HarvestedHost, host: SequentialHost) -> fx.GraphModule:
    """Returns the graph of a host, its parameters named as in the host."""
    graph = trace(harvested)
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            node.target = node.target.removeprefix("host.")
    return fx.GraphModule(host, graph, class_name=type(host).__name__)
