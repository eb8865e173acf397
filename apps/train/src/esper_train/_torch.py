"""The parts of torch used here that its documentation does not describe.

The public way to find out whether ``torch.compile`` works is to compile something, which takes from
8 to 20 seconds. ``tests/test_torch.py`` tests each use.
"""

from __future__ import annotations

from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler


def find_cpp_compiler() -> str | None:
    """Returns the C++ compiler that ``torch.compile`` uses on a CPU, ``None`` if there is none."""
    try:
        return str(get_cpp_compiler())
    except InvalidCxxCompiler:
        return None
