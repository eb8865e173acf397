"""The public interface is what the committed snapshot says, and importing it is light."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import esper_leyline

MODULES = ("esper_leyline", "esper_leyline.events")
SNAPSHOT = Path(__file__).with_name("public_api.txt")


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_unique_and_importable(name):
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__, key=_isort_key)
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert getattr(module, public) is not None


def test_the_public_interface_is_the_committed_one():
    """A change to it is a decision: write it into public_api.txt and the changelog."""
    described = [_describe(name, public) for name in MODULES for public in _names(name)]
    assert described == SNAPSHOT.read_text(encoding="utf-8").splitlines()


def test_importing_leyline_loads_neither_torch_nor_numpy():
    code = (
        "import sys, esper_leyline, esper_leyline.schemas.export, esper_leyline.events;"
        "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_package_is_typed_and_carries_its_schemas():
    package = Path(esper_leyline.__file__).parent
    assert (package / "py.typed").is_file()
    assert (package / "schemas" / "event.json").is_file()


def _names(module: str) -> list[str]:
    return list(importlib.import_module(module).__all__)


def _describe(module: str, name: str) -> str:
    thing = getattr(importlib.import_module(module), name)
    if inspect.isfunction(thing):
        parameters = inspect.signature(thing).parameters.values()
        return f"{module}.{name}({', '.join(_parameter(p) for p in parameters)})"
    return f"{module}.{name}"


def _parameter(parameter: inspect.Parameter) -> str:
    keyword = parameter.kind is inspect.Parameter.KEYWORD_ONLY
    optional = parameter.default is not inspect.Parameter.empty
    return f"{'*' if keyword else ''}{parameter.name}{'?' if optional else ''}"


def _isort_key(name: str) -> tuple[int, str]:
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name
