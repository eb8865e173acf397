"""Builds the wheels of the workspace and installs them, for tests of what users install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, **options) -> str:
    """Runs a command that must succeed and returns what it printed."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{command[:3]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build_wheels(folder: Path) -> dict[str, Path]:
    """Builds every wheel of the workspace; returns them by the name of the distribution."""
    run("uv", "build", "--all-packages", "--no-sources", "--wheel", "-o", folder, cwd=ROOT)
    return {path.name.split("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}


def write_constraints(wheels: dict[str, Path], folder: Path) -> Path:
    """Writes the versions of the lock, and the workspace's own wheels, as constraints of pip."""
    locked = run(
        *("uv", "export", "--frozen", "--all-packages", "--no-emit-workspace"),
        *("--no-hashes", "--no-header", "--no-annotate"),
        cwd=ROOT,
    )
    ours = "".join(f"{name} @ {path.as_uri()}\n" for name, path in wheels.items())
    path = folder / "constraints.txt"
    path.write_text(locked + ours, encoding="utf-8")
    return path


def install(environment: Path, constraints: Path, *wheels: Path) -> Path:
    """Installs wheels and what they declare in a fresh environment; returns its ``bin``."""
    folder = environment.parent
    cache = Path(run("uv", "cache", "dir", cwd=ROOT).strip())
    # Copying gigabytes of torch would take minutes where links are possible.
    same_disk = cache.exists() and cache.stat().st_dev == folder.stat().st_dev
    variables = {**os.environ, "UV_LINK_MODE": "hardlink" if same_disk else "symlink"}
    variables.pop("VIRTUAL_ENV", None)
    run("uv", "venv", "--no-project", "--python", sys.executable, environment, cwd=folder)
    python = environment / "bin" / "python"
    run(
        *("uv", "pip", "install", "--python", python, "--constraint", constraints),
        *wheels,
        cwd=folder,
        env=variables,
    )
    return environment / "bin"
