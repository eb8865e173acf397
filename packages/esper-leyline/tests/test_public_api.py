"""Importing Leyline is light, and its package is complete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import esper_leyline


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
