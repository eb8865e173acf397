"""Importing Kasmina imports torch, and nothing that torch loads on demand."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "torch._dynamo": "the compiler takes seconds to load",
    "torch.nn.attention.flex_attention": "it takes two seconds to load",
    "torchvision": "a development dependency",
    "onnx": "a development dependency",
}


@pytest.mark.slow
def test_importing_kasmina_loads_nothing_heavy():
    code = "import sys, esper_kasmina; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(HEAVY) & set(done.stdout.split()) == set()
