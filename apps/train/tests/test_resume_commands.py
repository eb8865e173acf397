"""The command that a run prints when it ends early works from another directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esper_leyline import RunStatus, RunSummary


def pasted(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a line in a shell, in another directory."""
    # Outside a project, ``uv run`` takes the environment that is active.
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
def test_the_printed_command_resumes_from_another_directory(command, small, tmp_path):
    """Its folder has a space and a quote in its name, and the paths of flags are relative."""
    here, there = tmp_path / "it's my folder", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    process = subprocess.Popen(
        command("ppo", *small, "--rounds", "500", "--save", "the policy.safetensors"),
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(here.glob("runs/*/checkpoints/*.safetensors")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, output + errors
    (said,) = [each for each in output.splitlines() if each.startswith("resume with: ")]
    (path,) = (here / "runs").iterdir()
    before = RunSummary.model_validate_json((path / "summary.json").read_text())
    wanted = len(before.rounds) + 1
    done = pasted(f"{said.removeprefix('resume with: ')} --rounds {wanted} --no-tui", there)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = RunSummary.model_validate_json((path / "summary.json").read_text())
    assert summary.status is RunStatus.COMPLETED
    assert len(summary.rounds) == wanted
    assert (here / "the policy.safetensors").is_file()
    assert list(there.iterdir()) == []
