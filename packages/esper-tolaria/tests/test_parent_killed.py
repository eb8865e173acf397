from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, signal, sys
from esper_kasmina import build_host
from esper_leyline import FactoredAction
from esper_tolaria import build_environment, find_preset, find_task

TASK = "mnist1d_blind"

if __name__ == "__main__":
    for workers in (1, 2):
        environment = build_environment(
            find_task(TASK).spec, find_preset(TASK), build_host, "cpu", workers=workers
        )
        environment.reset([1, 2])
        environment.step([FactoredAction()] * 2)
        assert "torch._dynamo" not in sys.modules, "the compiler was imported, which takes seconds"
    print(*environment.worker_pids, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = Path(tmp_path, "orphans.py")
    script.write_text(SCRIPT)
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ran.returncode == -9, ran.stderr
    workers = [int(word) for word in ran.stdout.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, workers))
