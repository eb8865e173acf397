"""Reads and replaces one element of a tuple, list, dict or dataclass that a module returns."""

from __future__ import annotations

import copy
import dataclasses
import operator
from collections import OrderedDict
from typing import Any, cast

from torch import Tensor, fx

from esper_kasmina.errors import KasminaError

OutputKey = int | str
"""Says which element: a position in a tuple or list, a key of a dict, or the name of a field."""


def select_output(output: Any, key: OutputKey, *, where: str) -> Any:
    """Returns an element of what a module returned.

    Raises:
        KasminaError: If there is no such element.
    """
    if isinstance(key, int):
        if isinstance(output, tuple | list) and -len(output) <= key < len(output):
            return output[key]
    elif isinstance(output, dict):
        if key in output:
            return output[key]
    elif key in _fields(output):
        return getattr(output, key)
    if isinstance(output, Tensor):
        raise KasminaError(
            f"{where} returns one tensor, which has no element {key!r}; leave output out"
        )
    raise KasminaError(
        f"{where} returns {_describe(output)}, which has no element {key!r}; "
        "give one of these as output="
    )


def replace_output(output: Any, key: OutputKey, element: Tensor) -> Any:
    """Returns a copy of what a module returned, with one element replaced.

    The copy has the same type: a tuple, named tuple, list, dict, dataclass, or a subclass such as
    Hugging Face's ``ModelOutput``.
    """
    if isinstance(key, str) and not isinstance(output, dict):
        if isinstance(output, tuple):
            return output._replace(**{key: element})  # type: ignore[attr-defined]
        return dataclasses.replace(output, **{key: element})
    if isinstance(output, tuple):
        elements: Any = [*output]
        elements[key] = element
        return type(output)(*elements) if hasattr(output, "_fields") else type(output)(elements)
    copied = copy.copy(output)
    copied[key] = element
    return copied


def trace_replacement(
    graph: fx.Graph, output: fx.Node, seed: str, key: OutputKey | None, container: type
) -> fx.Node:
    """Adds nodes to a graph that run a seed on an element and do what ``replace_output`` does.

    They use only operations that ``torch.fx`` can trace, because it traces a graph's code again
    when it unpickles it.

    Args:
        graph: The graph to extend.
        output: The node of what the module returned.
        seed: Name of the seed, a submodule of the graph.
        key: The element; ``None`` if the module returns one tensor.
        container: The type of what the module returned.

    Returns:
        The node of the whole output with the element replaced.

    Raises:
        KasminaError: If a graph cannot build a ``container``.
    """
    if key is None:
        return graph.call_module(seed, (output,))
    fields = getattr(container, "_fields", ())
    if isinstance(key, int) and fields:
        key = fields[key]
    is_field = isinstance(key, str) and not issubclass(container, dict)
    read = getattr if is_field else operator.getitem
    element = graph.call_module(seed, (graph.call_function(read, (output, key)),))
    if isinstance(key, int):
        return _trace_sequence(graph, output, key, element, container)
    return _trace_named(graph, output, key, element, container)


def _trace_named(
    graph: fx.Graph, output: fx.Node, key: str, element: fx.Node, container: type
) -> fx.Node:
    """Replaces an element of a dict, a named tuple or a dataclass."""
    if issubclass(container, dict):
        # ``|`` of other subclasses of dict returns a plain dict.
        if container is not dict and not issubclass(container, OrderedDict):
            raise KasminaError(
                f"a harvest cannot return a {container.__name__} from its graph; return a dict, "
                "an OrderedDict or a subclass of that"
            )
        return graph.call_function(operator.or_, (output, {key: element}))
    if issubclass(container, tuple):
        return graph.call_method("_replace", (output,), {key: element})
    names = [field.name for field in dataclasses.fields(cast("Any", container))]
    values = {name: graph.call_function(getattr, (output, name)) for name in names if name != key}
    return graph.call_function(container, (), {**values, key: element})


def _trace_sequence(
    graph: fx.Graph, output: fx.Node, key: int, element: fx.Node, container: type
) -> fx.Node:
    """Concatenates the elements before, the new element, and the elements after it."""
    new = [element] if issubclass(container, list) else (element,)
    before = graph.call_function(operator.getitem, (output, slice(None, key)))
    up_to_new = graph.call_function(operator.add, (before, new))
    if key == -1:
        return up_to_new
    after = graph.call_function(operator.getitem, (output, slice(key + 1, None)))
    return graph.call_function(operator.add, (up_to_new, after))


def describe_choice(output: Any) -> str:
    """Returns a hint how to name an element of an output; empty if no element is a tensor."""
    first: OutputKey | None = None
    if isinstance(output, tuple | list):
        tensors = [index for index, each in enumerate(output) if isinstance(each, Tensor)]
        first = tensors[0] if tensors else None
    else:
        keys = output if isinstance(output, dict) else _fields(output)
        for key in keys:
            value = output[key] if isinstance(output, dict) else getattr(output, key)
            if isinstance(key, str) and isinstance(value, Tensor):
                first = key
                break
    if first is None:
        return ""
    return f", or name an element of it, such as SlotSite('name', output={first!r})"


def _fields(output: Any) -> tuple[str, ...]:
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return tuple(field.name for field in dataclasses.fields(output))
    return tuple(getattr(output, "_fields", ()))


def _describe(output: Any) -> str:
    kind = type(output).__name__
    if isinstance(output, dict):
        return f"a {kind} of {', '.join(map(repr, output)) or 'nothing'}"
    if _fields(output):
        return f"a {kind} of {', '.join(map(repr, _fields(output)))}"
    if isinstance(output, tuple | list):
        return f"a {kind} of {len(output)} elements"
    return f"a {kind}"
