"""Worker processes keep freed memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esper_tolaria.sharding.processes import MALLOC_SETTINGS, ProcessTransport

SCRIPT = """
import os
from pathlib import Path
import torch

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

before = resident()
tensor = torch.ones(32 * 2**20)
del tensor
print(resident() - before)
"""
SIZE = 128 * 2**20

if not Path("/proc/self/statm").exists() or os.confstr("CS_GNU_LIBC_VERSION") is None:
    pytest.skip("needs glibc and /proc", allow_module_level=True)


def resident_after_freeing(**settings: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.slow
def test_the_settings_keep_the_memory_of_a_freed_tensor() -> None:
    assert resident_after_freeing() < SIZE / 2
    assert resident_after_freeing(**MALLOC_SETTINGS) > 0.9 * SIZE


def environment_of(pid: int) -> dict[str, str]:
    """Returns a child's environment variables; until it has started they are its parent's."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        lines = Path(f"/proc/{pid}/environ").read_text().split("\0")
        found = dict(line.split("=", 1) for line in lines if "=" in line)
        if MALLOC_SETTINGS.keys() <= found.keys():
            return found
        time.sleep(0.01)
    raise AssertionError(f"process {pid} has no {', '.join(MALLOC_SETTINGS)}")


def test_malloc_settings_are_set_in_workers_only(monkeypatch) -> None:
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    before = dict(os.environ)
    worker = ProcessTransport("worker 1")
    try:
        assert dict(os.environ) == before
        found = environment_of(worker.pid)
    finally:
        worker.join(0)
    # A value of the user's own is kept.
    assert {name: found[name] for name in MALLOC_SETTINGS} == MALLOC_SETTINGS | {
        "MALLOC_TOP_PAD_": "1"
    }
