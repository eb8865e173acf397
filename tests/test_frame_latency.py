"""The time from an event to the frame that shows it, against an echo in the same run."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

from interfaces import watching

pytestmark = pytest.mark.slow

EVENTS = 90
LARGEST_RATIO = 3.0
"""Of medians: 1 is an echo that reads as often, and sends as many bytes, and does nothing else."""


def test_a_frame_comes_nearly_as_fast_as_an_echo(tmp_path):
    with watching(tmp_path, EVENTS) as watched:
        frames, echoes = watched.times(EVENTS)
    assert median(frames) <= LARGEST_RATIO * median(echoes)
