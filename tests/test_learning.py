"""The default run learns: better than at first, and better than chance on the same hosts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent / "benchmarks" / "ppo_learns.py"


@pytest.mark.nightly
def test_ppo_learns_on_mnist1d(tmp_path):
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 seeds" in done.stdout
