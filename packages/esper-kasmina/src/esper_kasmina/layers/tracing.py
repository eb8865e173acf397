"""Graphs of modules."""

from __future__ import annotations

from torch import fx, nn


def trace(module: nn.Module) -> fx.Graph:
    """Traces a module, its buffers as parts of it like its parameters, not as constants."""
    # Not a subclass: a graph remembers its tracer's class, and would need Esper to be loaded.
    tracer = fx.Tracer()
    tracer.proxy_buffer_attributes = True
    graph = tracer.trace(module)
    for node in graph.nodes:
        node.type = None  # names of types in strings would stop torch.jit.script
    return graph
