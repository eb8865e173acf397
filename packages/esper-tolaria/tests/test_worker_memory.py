"""Worker processes keep freed memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from esper_tolaria.sharding.fork_server import MALLOC_SETTINGS

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


STARTED = """
import os
from pathlib import Path

from esper_tolaria.sharding.processes import ProcessTransport

before = dict(os.environ)
worker = ProcessTransport("worker 1")
assert dict(os.environ) == before
print(Path(f"/proc/{worker.pid}/environ").read_text())
worker.join(0)
"""
"""A process of its own, because workers have the environment of the first worker's start."""


def test_malloc_settings_are_set_in_workers_only() -> None:
    environment = os.environ | {"MALLOC_TOP_PAD_": "1"}
    done = subprocess.run(
        [sys.executable, "-c", STARTED], env=environment, capture_output=True, text=True, check=True
    )
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)
    # A value of the user's own is kept.
    assert {name: found[name] for name in MALLOC_SETTINGS} == MALLOC_SETTINGS | {
        "MALLOC_TOP_PAD_": "1"
    }
