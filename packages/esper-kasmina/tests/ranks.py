"""Runs a script once a rank, side by side."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch


def run_ranks(script: Path, folder: Path, name: str, world: int) -> list[dict[str, torch.Tensor]]:
    """Runs all ranks and returns the state each one ended with.

    The script is given a name, its rank, the number of ranks, a file for them to meet and
    the file for its state.
    """
    results = [folder / f"{name}-{rank}-of-{world}.pt" for rank in range(world)]
    ranks = [
        subprocess.Popen(
            [sys.executable, script, name, str(rank), str(world), folder / "store", result],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank, result in enumerate(results)
    ]
    for rank in ranks:
        printed, _ = rank.communicate(timeout=240)
        assert rank.returncode == 0, printed
    return [torch.load(result, weights_only=True) for result in results]
