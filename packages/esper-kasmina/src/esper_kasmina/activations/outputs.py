"""One element of what a module returns: a tuple, a list, a dict or a dataclass."""

from __future__ import annotations

import copy
import dataclasses
import operator
from collections import OrderedDict
from typing import Any, cast

from torch import Tensor, fx

from esper_kasmina.errors import KasminaError

OutputKey = int | str
"""Names an element: a position in a tuple or list, a key of a dict, or a field."""


def select_output(output: Any, key: OutputKey, *, where: str) -> Any:
    """Returns an element of what a module returned.

    Raises:
        KasminaError: If there is no such element; names those there are.
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
    """Returns a copy of what a module returned with one element replaced.

    The copy is of the same type: tuples, named tuples, lists, dicts and their subclasses
    (the ``ModelOutput`` of Hugging Face among them), and dataclasses.
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
    """Adds to a graph what ``replace_output`` does.

    Only operations that ``torch.fx`` can trace are used, because it traces a graph's code
    again when it unpickles it.

    Args:
        graph: The graph to extend.
        output: The node of what the module returned.
        seed: Name of the submodule that maps the element to its replacement.
        key: The element; ``None`` where the module returns one tensor.
        container: What the module returned was one of these.

    Returns:
        The node of the whole output with the element replaced.

    Raises:
        KasminaError: If no graph can build a ``container``.
    """
    if key is None:
        return graph.call_module(seed, (output,))
    fields = getattr(container, "_fields", ())
    if isinstance(key, int) and fields:
        key = fields[key]
    named = isinstance(key, str) and not issubclass(container, dict)
    read = getattr if named else operator.getitem
    element = graph.call_module(seed, (graph.call_function(read, (output, key)),))
    if isinstance(key, int):
        return _trace_sequence(graph, output, key, element, container)
    if issubclass(container, dict):
        # Only these return their own type.
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
    """Joins the elements before, the new one and those after, whatever their number."""
    middle = [element] if issubclass(container, list) else (element,)
    before = graph.call_function(operator.getitem, (output, slice(None, key)))
    joined = graph.call_function(operator.add, (before, middle))
    if key == -1:
        return joined
    after = graph.call_function(operator.getitem, (output, slice(key + 1, None)))
    return graph.call_function(operator.add, (joined, after))


def describe_choice(output: Any) -> str:
    """Says how to name an element of what a module returned; empty where it has none."""
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
