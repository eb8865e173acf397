"""The learner keeps learning where several heads move at once and one reward judges them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent / "benchmarks" / "three_head_recall.py"


@pytest.mark.nightly
def test_three_heads_are_recalled(tmp_path):
    done = subprocess.run(
        [sys.executable, str(BENCHMARK)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
