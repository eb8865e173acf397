"""Every screen and state of Sanctum, byte for byte as it was recorded and looked at."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "sanctum"))

from scenarios import FOLDER, file_of, picture, pictures, read_picture

AGAIN = "look at it, and record it again: uv run --no-sync python tests/sanctum/record.py"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), pictures(), ids=str)
def test_a_picture_is_as_it_was_recorded(tmp_path, name, size):
    assert picture(tmp_path, name, size) == read_picture(name, size), AGAIN


def test_every_recorded_picture_is_compared():
    expected = {file_of(name, size).name for name, size in pictures()}
    assert {path.name for path in FOLDER.glob("*.svg.gz")} == expected


def test_pictures_load_nothing_from_other_hosts():
    for name, size in pictures():
        found = set(re.findall(r"https?://[\w./-]+", read_picture(name, size)))
        assert found <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}
