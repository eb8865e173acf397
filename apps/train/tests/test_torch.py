"""What of torch's compiler esper-train relies on; these fail if a new torch changes it."""

from __future__ import annotations

import shutil

from torch._inductor import config

from esper_train._torch import find_cpp_compiler


def test_the_compiler_of_torch_is_found():
    found = find_cpp_compiler()
    assert found is not None, "the tests of compiled runs need g++"
    assert shutil.which(found)


def test_a_missing_compiler_is_none():
    # Not by monkeypatch, whose undoing would delete the setting that later tests compile by.
    with config.patch({"cpp.cxx": ("no-such-compiler",)}):
        assert find_cpp_compiler() is None
