"""Trains a small network and draws how it grew: ``uv run python docs/img/growing.py``.

Writes ``growing.svg`` beside this file; it takes about half a minute on a CPU.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PICTURE = Path(__file__).with_name("growing.svg")
TRAIN = "heuristic --task mnist1d_blind --device cpu --episodes 2 --seed 2 --no-tui"


def main() -> None:
    """Trains, then draws."""
    programs = Path(sys.executable).parent
    with TemporaryDirectory() as runs:
        train = [programs / "esper-train", *TRAIN.split(), "--runs", runs]
        subprocess.run(train, check=True)
        (run,) = Path(runs).iterdir()
        subprocess.run([programs / "esper-overwatch", "picture", run, "--out", PICTURE], check=True)


if __name__ == "__main__":
    main()
