"""Finds the module of a harvest in which a seed can be registered as a child.

A seed that runs as a forward hook needs an owner, so that its weights are in the state dict. The
owner must not run or count its children in a loop (as ``nn.Sequential`` does), because it would
run the seed as one more layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType

from torch import nn

from esper_kasmina.errors import KasminaError

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
"""Classes of torch that run or count their children in a loop."""

_READS_ALL_CHILDREN = frozenset(
    {"children", "named_children", "modules", "named_modules", "_modules"}
)


def find_module_for_seed(root: nn.Module, path: str) -> nn.Module:
    """Returns the module nearest to a submodule in which a seed can be registered.

    It is the submodule itself, or else a module in it, or else one around it.

    Raises:
        KasminaError: If there is none.
    """
    module = root.get_submodule(path)
    if not _loops_over_children(module):
        return module
    inside = [*_descendants(module)]
    # Modules without weights first: they are less likely to be replaced later than layers.
    inside.sort(key=_has_tensors)
    parts = path.split(".")[:-1]
    around = [root.get_submodule(".".join(parts[:end])) for end in range(len(parts), -1, -1)]
    for each in [*inside, *around]:
        if not _loops_over_children(each):
            return each
    raise KasminaError(
        f"submodule '{path}' and all modules in it and around it loop over their children, so that "
        "a seed there would run as one more layer; put the slot after another submodule"
    )


def is_torch_class(kind: type) -> bool:
    """Whether a class is ``object``, or defined by torch."""
    return kind is object or kind.__module__.partition(".")[0] == "torch"


def _has_tensors(module: nn.Module) -> bool:
    own = (module.parameters(recurse=False), module.buffers(recurse=False))
    return any(True for tensors in own for _ in tensors)


def _descendants(module: nn.Module) -> Iterator[nn.Module]:
    """Yields all modules in a module: the last child first, parents before their children."""
    last_first = [*module.children()][::-1]
    yield from last_first
    for child in last_first:
        yield from _descendants(child)


def _loops_over_children(module: nn.Module) -> bool:
    """Whether a module's class reads all of its children, and not each by its name."""
    if isinstance(module, CONTAINERS):
        return True
    users_classes = [kind for kind in type(module).__mro__ if not is_torch_class(kind)]
    return any(_READS_ALL_CHILDREN & _names_used(kind) for kind in users_classes)


def _names_used(kind: type) -> set[str]:
    """Returns the names of attributes and globals that the methods of a class use."""
    functions = [each for each in vars(kind).values() if isinstance(each, FunctionType)]
    return {name for function in functions for name in _names_in(function.__code__)}


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)
