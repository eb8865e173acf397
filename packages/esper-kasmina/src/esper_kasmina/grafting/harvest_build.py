"""Builds harvests: copies of grown models with plain modules in place of slots."""

from __future__ import annotations

from torch import Tensor, fx, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from esper_kasmina._torch import COMPILED
from esper_kasmina.blueprints.tokens.flex_attention import FlexAttention
from esper_kasmina.grafting.copies import copy_model
from esper_kasmina.grafting.grafted import Grafted
from esper_kasmina.grafting.harvest_hooks import add_hook, can_be_wrapped, wrap
from esper_kasmina.hosts.sequential import SequentialHost
from esper_kasmina.layers.branch_norms import BranchNorm2d, BranchNorm3d
from esper_kasmina.layers.signals import SignalConvolution, SignalNorm
from esper_kasmina.layers.tracing import trace
from esper_kasmina.slots.seed import Seed
from esper_kasmina.slots.slot import SeedSlot
from esper_leyline import SeedStage

_OWN_LAYERS = (SignalConvolution, SignalNorm, BranchNorm2d, BranchNorm3d)
"""Layers of this package whose method ``plain`` returns the equal layer of torch."""


def build_harvest(model: nn.Module, *, wrap_layers: bool = True) -> nn.Module:
    """Returns a plain copy of a model with slots; see ``harvest``.

    Args:
        model: A grafted model, a host, or any module with slots in it.
        wrap_layers: Whether a single layer is replaced by a graph of the layer and the seed, so
            that tools that replace layers keep the seed.
    """
    if isinstance(model, Grafted):
        return _harvest_grafted(model, wrap_layers=wrap_layers)
    if isinstance(model, SequentialHost):
        return _harvest_sequential(model)
    return _harvest_other(model, wrap_layers=wrap_layers)


def unwrap_model(model: nn.Module) -> nn.Module:
    """Returns the model inside wrappers of ``torch.compile``, averages and data parallelism."""
    while True:
        # Not by the class of compiled modules, which is slow to import.
        compiled = dict(model.named_children()).get(COMPILED)
        if compiled is not None:
            model = compiled
        elif isinstance(model, AveragedModel | DataParallel | DistributedDataParallel):
            model = model.module
        else:
            return model


def _harvest_grafted(grafted: Grafted, *, wrap_layers: bool) -> nn.Module:
    copied = copy_model(grafted)
    replaced = []
    for slot_hook, handle in copied.slot_hooks:
        if slot_hook.slot.stage is not SeedStage.FOSSILIZED:
            continue
        seed = _seed_graph(slot_hook.slot)
        layer = can_be_wrapped(copied.model.get_submodule(slot_hook.path), handle)
        if wrap_layers and layer and slot_hook.output is None:
            handle.remove()
            wrap(copied.model, slot_hook.path, seed)
        else:
            add_hook(copied.model, slot_hook, seed, handle)
            replaced.append(handle)
    return unwrap_model(copied.release(keep=replaced))


def _harvest_sequential(host: SequentialHost) -> nn.Module:
    copied = copy_model(host)
    seeds = [_fossilized_seed(slot) for _, slot in copied.slotted_blocks]
    grown = {
        slot.name: seed
        for (_, slot), seed in zip(copied.slotted_blocks, seeds, strict=True)
        if slot is not None and seed is not None
    }
    del copied.seed_slots
    copied.grown = nn.ModuleDict(grown)
    _use_torch_layers(copied)
    plain = _PlainHost(copied, [block for block, _ in copied.slotted_blocks], seeds)
    return _trace_host(plain, copied)


def _harvest_other(model: nn.Module, *, wrap_layers: bool) -> nn.Module:
    copied = copy_model(model)
    for name, module in list(copied.named_modules()):
        if isinstance(module, Grafted):
            copied.set_submodule(name, _harvest_grafted(module, wrap_layers=wrap_layers))
    for name, module in list(copied.named_modules()):
        if isinstance(module, SeedSlot):
            fossilized = module.stage is SeedStage.FOSSILIZED
            copied.set_submodule(name, _seed_graph(module) if fossilized else nn.Identity())
    return copied


def _fossilized_seed(slot: SeedSlot | None) -> Seed | None:
    return slot.seed if slot is not None and slot.stage is SeedStage.FOSSILIZED else None


def _seed_graph(slot: SeedSlot) -> fx.GraphModule:
    """Returns a fossilized seed as a graph of torch's own layers."""
    seed = _fossilized_seed(slot)
    assert seed is not None
    _use_torch_layers(seed)
    return fx.GraphModule(seed, trace(seed), class_name="GrownSeed")


def _use_torch_layers(module: nn.Module) -> None:
    """Replaces layers of this package by torch's, which ``torch.fx`` does not trace into."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _OWN_LAYERS):
                setattr(parent, name, child.plain())
            elif isinstance(child, FlexAttention):
                child.portable = True


class _PlainHost(nn.Module):
    """A host's forward pass with seeds in place of slots."""

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


def _trace_host(plain: _PlainHost, host: SequentialHost) -> fx.GraphModule:
    """Returns a graph of a host, with the host's names of modules and parameters."""
    graph = trace(plain)
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            node.target = node.target.removeprefix("host.")
    return fx.GraphModule(host, graph, class_name=type(host).__name__)
