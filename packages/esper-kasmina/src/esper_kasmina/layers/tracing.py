"""Traces modules with ``torch.fx``."""

from __future__ import annotations

from torch import fx, nn


def trace(module: nn.Module) -> fx.Graph:
    """Traces a module. Buffers are attributes of the graph's module, as parameters are."""
    # Not a subclass: a graph stores its tracer's class, and loading it would need Esper.
    tracer = fx.Tracer()
    tracer.proxy_buffer_attributes = True
    graph = tracer.trace(module)
    for node in graph.nodes:
        node.type = None  # torch.jit.script fails for type annotations that are strings
    return graph
