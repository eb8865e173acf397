"""The bars of the contract for the speed of interfaces, with an otherwise idle machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

from interfaces import PARTS
from report import Report

pytestmark = [pytest.mark.slow, pytest.mark.nightly]


@pytest.mark.parametrize("part", PARTS)
def test_every_bar_is_reached(tmp_path, part):
    report = Report()
    PARTS[part](report, tmp_path)
    assert report.missed == 0, "\n".join(report.lines)
