"""Plain PyTorch out of a grown model: fossils built in, no slots, nothing of Esper."""

from __future__ import annotations

import copy

from torch import Tensor, fx, nn

from esper_kasmina.blueprints.tokens.flex_attention import FlexAttention
from esper_kasmina.errors import KasminaError
from esper_kasmina.grafted import Grafted, SlotHook
from esper_kasmina.optimizers import seed_slots
from esper_kasmina.outputs import trace_replacement
from esper_kasmina.path_host import PathHost
from esper_kasmina.seed import Seed
from esper_kasmina.signals import SignalConvolution, SignalNorm
from esper_kasmina.slot import SeedSlot
from esper_leyline import LIVE_STAGES, SeedStage


def harvest(model: nn.Module, *, drop_live: bool = False) -> nn.Module:
    """Returns a grown model as a plain module with the same outputs.

    Fossilized seeds are built in as ``torch.fx`` graphs over torch's own layers; slots are
    gone. What is returned shares nothing with ``model``, can be pickled, exported and
    trained on, and needs no Esper to be loaded. A grafted model comes back as its own
    class, a host of ``build_host`` as a graph, any other model with ``SeedSlot`` in it as
    its own class with plain modules in their places.

    Args:
        model: A grafted model, a host, or any module with slots in it.
        drop_live: Whether to leave out seeds that are not fossilized; the outputs are
            then those of the model without them.

    Raises:
        KasminaError: If the model has no slots, or seeds that are blended in but not
            fossilized.
    """
    slots = seed_slots(model)
    if not slots:
        raise KasminaError("the model has no slots to harvest; graft some, or use it as it is")
    if not drop_live:
        _check_settled(slots)
    if isinstance(model, Grafted):
        return _harvest_grafted(model)
    if isinstance(model, PathHost):
        return _harvest_path(model)
    return _harvest_in_place(model)


def _check_settled(slots: tuple[SeedSlot, ...]) -> None:
    for slot in slots:
        if slot.stage in LIVE_STAGES and slot.active and slot.alpha > 0.0:
            raise KasminaError(
                f"the seed in slot '{slot.name}' is {slot.stage.name} and changes the output; "
                "fossilize or prune it first, or say drop_live=True to leave it out"
            )


def _harvest_grafted(grafted: Grafted) -> nn.Module:
    copied = copy.deepcopy(grafted)
    hooks = copied.hooks
    model = copied.release()
    for hook in hooks:
        if hook.slot.stage is SeedStage.FOSSILIZED:
            _append(model.get_submodule(hook.path), hook, _plain(hook.slot))
    return model


def _append(module: nn.Module, taken: SlotHook, seed: fx.GraphModule) -> None:
    """Lets a seed take over what a module returns, or one element of it."""
    if type(module).forward is nn.Sequential.forward and taken.output is None:
        assert isinstance(module, nn.Sequential)
        module.append(seed)
        return
    graph = fx.Graph()
    graph.placeholder("module")
    graph.placeholder("inputs")
    output = graph.placeholder("output")
    assert taken.container is not None
    graph.output(trace_replacement(graph, output, "seed", taken.output, taken.container))
    hook = fx.GraphModule({"seed": seed}, graph, class_name="Grown")
    hook.train(module.training)
    module.add_module(f"grown_{taken.slot.name}", hook)
    # The handle goes along, because unpickling it keeps its number from being used again.
    module.grown_handle = module.register_forward_hook(hook)


def _harvest_path(host: PathHost) -> nn.Module:
    copied = copy.deepcopy(host)
    seeds = [_fossil(slot) for _, slot in copied.path]
    grown = {
        slot.name: seed
        for (_, slot), seed in zip(copied.path, seeds, strict=True)
        if slot is not None and seed is not None
    }
    del copied.seed_slots
    copied.grown = nn.ModuleDict(grown)
    _make_plain(copied)
    return _traced(_Path(copied, [block for block, _ in copied.path], seeds), copied)


def _harvest_in_place(model: nn.Module) -> nn.Module:
    copied = copy.deepcopy(model)
    for name, module in list(copied.named_modules()):
        if isinstance(module, SeedSlot):
            parent, _, child = name.rpartition(".")
            fossil = module.stage is SeedStage.FOSSILIZED
            setattr(
                copied.get_submodule(parent), child, _plain(module) if fossil else nn.Identity()
            )
    return copied


def _fossil(slot: SeedSlot | None) -> Seed | None:
    return slot.seed if slot is not None and slot.stage is SeedStage.FOSSILIZED else None


def _plain(slot: SeedSlot) -> fx.GraphModule:
    """Returns a fossil as a graph over torch's own layers."""
    seed = _fossil(slot)
    assert seed is not None
    _make_plain(seed)
    return fx.GraphModule(seed, _trace(seed), class_name="GrownSeed")


def _make_plain(module: nn.Module) -> None:
    """Replaces our own layers by torch's, which tracing keeps as they are."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, SignalConvolution | SignalNorm):
                setattr(parent, name, child.plain())
            elif isinstance(child, FlexAttention):
                child.portable = True


def _trace(module: nn.Module) -> fx.Graph:
    """Traces a module, its buffers as parts of it like its parameters, not as constants."""
    # Not a subclass: a graph remembers its tracer's class, and would need Esper to be loaded.
    tracer = fx.Tracer()
    tracer.proxy_buffer_attributes = True
    return tracer.trace(module)


class _Path(nn.Module):
    """A host's forward pass with seeds in the place of slots."""

    def __init__(self, host: PathHost, blocks: list[nn.Module], seeds: list[Seed | None]) -> None:
        super().__init__()
        self.host = host
        self._steps = tuple(zip(blocks, seeds, strict=True))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.host.stem(inputs)
        for block, seed in self._steps:
            hidden = block(hidden)
            if seed is not None:
                hidden = seed(hidden)
        return self.host.head(hidden)


def _traced(path: _Path, host: PathHost) -> fx.GraphModule:
    """Returns the graph of a path, its parameters named as in the host."""
    graph = _trace(path)
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            node.target = node.target.removeprefix("host.")
    return fx.GraphModule(host, graph, class_name=type(host).__name__)
