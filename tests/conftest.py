"""Fixtures of the tests at the top level."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from . import wandb_helpers, wheel_helpers
from .wandb_helpers import OFFLINE, POLICY, SMALL


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """Every wheel of the workspace by its distribution's name."""
    return wheel_helpers.build_wheels(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def constraints(wheels, tmp_path_factory):
    """The lock's versions, and our own distributions as the wheels just built."""
    return wheel_helpers.write_constraints(wheels, tmp_path_factory.mktemp("constraints"))


@pytest.fixture(scope="module")
def install(constraints, tmp_path_factory):
    """Installs wheels and what they declare in a fresh environment; returns its ``bin``."""
    folder = tmp_path_factory.mktemp("environments")
    counter = iter(range(1000))

    def into_fresh_environment(*chosen):
        return wheel_helpers.install(folder / str(next(counter)), constraints, *chosen)

    yield into_fresh_environment
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def run_at_wandb(tmp_path_factory):
    """The directory of a run that was sent while it trained, and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run([*git, "init", "-q", "."], cwd=folder, check=True)
    (folder / "model.py").write_text("width = 1\n")
    subprocess.run([*git, "add", "model.py"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-qm", "x"], cwd=folder, check=True)
    (folder / "model.py").write_text("width = 2\n")
    code, output, errors = wandb_helpers.run(
        *("esper-train", "ppo", "--rounds", "2", *SMALL, *POLICY, "--wandb", *OFFLINE),
        *("--wandb-project", "growth", "--wandb-entity", "team", "--wandb-tags", "a", "b c"),
        *("--wandb-group", "study", "--wandb-name", "first"),
        cwd=folder,
    )
    assert code == 0, errors
    (found,) = (folder / "runs").iterdir()
    return found, output
