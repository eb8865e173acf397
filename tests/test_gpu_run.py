"""The check of CUDA devices fails clearly on a machine without one, and compares what it should."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).with_name("gpu")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_cuda_device_the_check_says_so_and_fails(tmp_path):
    done = subprocess.run(
        ["bash", str(FOLDER / "run.sh")],
        env={**os.environ, "PYTHON": sys.executable, "OUT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr == f"error: torch {torch.__version__} finds no CUDA device here\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("shift", "code"), [(1.0, 0), (1.03, 1), (float("nan"), 1)])
def test_losses_that_differ_between_devices_fail_the_comparison(monkeypatch, capsys, shift, code):
    spec = importlib.util.spec_from_file_location("gpu_compare", FOLDER / "compare.py")
    compare = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_compare", compare)
    spec.loader.exec_module(compare)
    losses = {"cpu": [[2.0, 1.0]], "cuda:0": [[2.0, shift]]}
    monkeypatch.setattr(compare, "measure", lambda _, device: compare.Measured(losses[device], 1.0))
    monkeypatch.setattr(compare, "default_run", lambda _: (1.0, "completed"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a device")
    assert compare.main("cpu", "cuda:0") == code
    assert ("above 2%" in capsys.readouterr().out) == bool(code)
