"""Optional libraries: found, missing, or only a folder of their name."""

from __future__ import annotations

import pytest

from esper_leyline import LeylineError
from esper_leyline.extras import is_installed, require_extra


def test_an_installed_library_is_accepted():
    require_extra("a test", ["pytest", "pydantic"], extra="x", distribution="y")


def test_only_missing_libraries_are_named_in_one_line():
    with pytest.raises(LeylineError) as caught:
        require_extra(
            "'a test'", ["pytest", "no_such_a", "no_such_b"], extra="x", distribution="esper-y"
        )
    assert str(caught.value) == (
        "'a test' needs no_such_a and no_such_b, which are not installed; run: "
        "pip install 'esper-y[x]', or in a clone of Esper: uv sync --extra x"
    )


def test_a_folder_with_the_name_of_a_library_is_not_the_library(tmp_path, monkeypatch):
    (tmp_path / "only_files").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not is_installed("only_files")
