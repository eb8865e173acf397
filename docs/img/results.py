"""Trains a policy, compares it with rules and plots it: ``uv run python docs/img/results.py``.

Writes ``results.png`` beside this file and prints the tables; it takes about six minutes on two CPU
cores without other work.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PICTURE = Path(__file__).with_name("results.png")
TRAIN = "ppo --task mnist1d_blind --device cpu --no-tui"
EVALUATE = "evaluate --device cpu --baseline schedule --policy greedy --seeds 40 --range reporting"
RULES = ("static", "heuristic", "schedule")


def main() -> None:
    """Trains, evaluates, and copies the plot."""
    program = Path(sys.executable).parent / "esper-train"
    with TemporaryDirectory() as folder:
        policy, out = Path(folder) / "policy.safetensors", Path(folder) / "evaluation"
        train = [program, *TRAIN.split(), "--runs", folder, "--save", policy]
        subprocess.run(train, check=True)
        arms = ["--arms", *RULES, f"learned={policy}"]
        subprocess.run([program, *EVALUATE.split(), *arms, "--out", out], check=True)
        shutil.copyfile(out / "evaluation.png", PICTURE)


if __name__ == "__main__":
    main()
