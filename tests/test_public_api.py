"""The public names of each package are those in its committed snapshot.

A snapshot is ``tests/public_api.txt`` in the package's folder: a line for each public name, and the
parameters of functions. A changed name is a decision: write it there and into the changelog.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SNAPSHOTS = sorted(ROOT.glob("*/*/tests/public_api.txt"))


def modules_of(snapshot):
    lines = snapshot.read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(line.partition("(")[0].rpartition(".")[0] for line in lines))


def names_of(snapshots):
    return [path.parent.parent.name for path in snapshots]


def exports(module):
    """Whether a module says itself what it exports."""
    return hasattr(importlib.import_module(module), "__all__")


def public_names(module):
    """What a module exports, or else the public names that it defines, in their order."""
    found = importlib.import_module(module)
    return found.__all__ if exports(module) else public_names_of_file(Path(found.__file__))


def public_names_of_file(path):
    names = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign):
            names.append(node.target.id)
    return [name for name in names if not name.startswith("_")]


MODULES = [module for snapshot in SNAPSHOTS for module in modules_of(snapshot)]


def test_every_member_has_a_snapshot_of_its_api():
    assert set(names_of(SNAPSHOTS)) >= {
        "esper-leyline",
        "esper-kasmina",
        "esper-karn",
        "esper-nissa",
        "esper-tolaria",
        "overwatch",
    }


@pytest.mark.parametrize("snapshot", SNAPSHOTS, ids=names_of(SNAPSHOTS))
def test_the_public_names_are_those_of_the_snapshot(snapshot):
    lines = snapshot.read_text(encoding="utf-8").splitlines()
    described = [
        describe(module, name) for module in modules_of(snapshot) for name in public_names(module)
    ]
    assert described == lines


def test_every_module_of_leyline_is_in_its_snapshot():
    """What Leyline itself does not export, others import from its modules."""
    folder = ROOT / "packages/esper-leyline"
    source = folder / "src"
    found = {
        ".".join(path.relative_to(source).with_suffix("").parts)
        for path in source.rglob("*.py")
        if not path.name.startswith("_") and public_names_of_file(path)
    }
    assert set(modules_of(folder / "tests/public_api.txt")) >= found


@pytest.mark.parametrize("name", [name for name in MODULES if exports(name)])
def test_all_is_sorted_unique_and_importable(name):
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__, key=isort_key)
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert getattr(module, public) is not None


def describe(module, name):
    """A public name as a line of a snapshot."""
    value = getattr(importlib.import_module(module), name)
    if not inspect.isfunction(value):
        return f"{module}.{name}"
    parameters = inspect.signature(value).parameters.values()
    return f"{module}.{name}({', '.join(map(describe_parameter, parameters))})"


def describe_parameter(parameter):
    """A parameter: ``*`` before one that is given by name, ``?`` after one with a default."""
    star = "*" if parameter.kind is inspect.Parameter.KEYWORD_ONLY else ""
    return f"{star}{parameter.name}{'' if parameter.default is parameter.empty else '?'}"


def isort_key(name):
    """The order in which ruff sorts ``__all__``."""
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name
