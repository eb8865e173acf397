"""A worker keeps the memory that it frees."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from pathlib import Path
import torch
from esper_tolaria.sharding.allocation import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

before = resident()
tensor = torch.ones(32 * 2**20)
del tensor
print(resident() - before)
"""
SIZE = 128 * 2**20

if not hasattr(ctypes.CDLL(None), "mallopt") or not Path("/proc/self/statm").exists():
    pytest.skip("no malloc with settings, or no way to see memory", allow_module_level=True)


def kept_after_a_large_tensor(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_what_a_large_tensor_took_stays_at_hand() -> None:
    assert kept_after_a_large_tensor("usual") < SIZE / 2
    assert kept_after_a_large_tensor("keep") > 0.9 * SIZE
