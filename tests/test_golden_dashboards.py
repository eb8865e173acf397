"""The dashboard of the golden logs looks as in ``golden/dashboards``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))

from dashboards import FOLDER, MOMENTS, SIZES, draw, state_of  # noqa: E402


@pytest.fixture(scope="module", params=MOMENTS)
def moment(request):
    """The name of a golden picture and its state."""
    return request.param, state_of(*MOMENTS[request.param])


@pytest.mark.parametrize("size", SIZES)
def test_a_dashboard_is_drawn_as_in_the_golden_file(moment, size):
    name, state = moment
    width, height = size
    golden = (FOLDER / f"{name}_{width}x{height}.txt").read_text(encoding="utf-8")
    drawn = draw(state, width, height)
    again = "write it again: uv run --no-sync python tests/golden/dashboards.py"
    assert drawn == golden, again
    assert max(map(cell_len, drawn.splitlines())) <= width


def test_every_golden_picture_is_compared():
    names = {f"{name}_{w}x{h}.txt" for name in MOMENTS for w, h in SIZES}
    assert {path.name for path in FOLDER.iterdir()} == names
