"""Every wheel stands alone: built, installed with what it declares, imported, run.

Versions come from ``uv.lock`` and files from uv's cache, which ``uv sync`` has filled. The
environments lie outside the repository and are removed as soon as they were looked at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PROJECTS = {
    project["name"]: project
    for project in (
        tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        for path in sorted(ROOT.glob("*/*/pyproject.toml"))
    )
}
PYDANTIC_ALONE = {
    "annotated-types",
    "esper-leyline",
    "pydantic",
    "pydantic-core",
    "typing-extensions",
    "typing-inspection",
}


def run(*command: str | Path, **options) -> str:
    """Runs a command that must succeed and returns what it printed."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{command[:3]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Every wheel of the workspace by its distribution's name."""
    folder = tmp_path_factory.mktemp("dist")
    run("uv", "build", "--all-packages", "--no-sources", "--wheel", "-o", folder, cwd=ROOT)
    return {path.name.split("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}


@pytest.fixture(scope="module")
def constraints(wheels, tmp_path_factory):
    """The lock's versions, and our own distributions as the wheels just built."""
    locked = run(
        *("uv", "export", "--frozen", "--all-packages", "--no-emit-workspace"),
        *("--no-hashes", "--no-header", "--no-annotate"),
        cwd=ROOT,
    )
    ours = "".join(f"{name} @ {path.as_uri()}\n" for name, path in wheels.items())
    path = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    path.write_text(locked + ours, encoding="utf-8")
    return path


@pytest.fixture
def install(wheels, constraints, tmp_path):
    """Installs one wheel and what it declares in a fresh environment; returns its ``bin``."""
    environment = tmp_path / "environment"
    cache = Path(run("uv", "cache", "dir", cwd=ROOT).strip())
    # Copying gigabytes of torch would take minutes where links are possible.
    same_disk = cache.exists() and cache.stat().st_dev == tmp_path.stat().st_dev
    variables = {**os.environ, "UV_LINK_MODE": "hardlink" if same_disk else "symlink"}
    variables.pop("VIRTUAL_ENV", None)

    def into_fresh_environment(name: str) -> Path:
        run("uv", "venv", "--no-project", "--python", sys.executable, environment, cwd=tmp_path)
        python = environment / "bin" / "python"
        run(
            *("uv", "pip", "install", "--python", python, "--constraint", constraints),
            wheels[name],
            cwd=tmp_path,
            env=variables,
        )
        return environment / "bin"

    yield into_fresh_environment
    shutil.rmtree(environment, ignore_errors=True)


def test_there_is_one_wheel_a_member_and_none_of_the_workspace(wheels):
    assert sorted(wheels) == sorted(PROJECTS)


@pytest.mark.parametrize("name", PROJECTS)
def test_a_wheel_is_typed_and_carries_what_it_needs(wheels, name):
    package = name.replace("-", "_")
    files = set(zipfile.ZipFile(wheels[name]).namelist())
    assert f"{package}/py.typed" in files
    version = PROJECTS[name]["version"]
    assert f"{package}-{version}.dist-info/licenses/LICENSE" in files
    assert not [file for file in files if "/tests/" in file]
    if name == "esper-leyline":
        committed = (ROOT / "packages/esper-leyline/src").rglob("schemas/*.json")
        expected = {f"{package}/schemas/{path.name}" for path in committed}
        assert expected
        assert expected <= files
    if name == "esper-tolaria":
        assert "esper_tolaria/datasets/digits.npz" in files


@pytest.mark.parametrize("name", PROJECTS)
def test_a_wheel_works_alone_with_what_it_declares(install, tmp_path, name):
    programs = install(name)
    run(programs / "python", "-I", "-c", f"import {name.replace('-', '_')}", cwd=tmp_path)
    for command in PROJECTS[name].get("scripts", {}):
        assert command in run(programs / command, "--help", cwd=tmp_path)
    present = installed(programs)
    dependencies = PROJECTS[name]["dependencies"]
    declared = {text.split(">=")[0] for text in dependencies if text.startswith("esper-")}
    assert {other for other in present if other.startswith("esper-")} == {name} | declared
    if name == "esper-leyline":
        assert present == PYDANTIC_ALONE
    if name == "esper-kasmina":
        script = ROOT / "tests" / "growing_layer.py"
        assert "grown" in run(programs / "python", "-I", script, cwd=tmp_path)
    if name == "esper-simic":
        script = ROOT / "tests" / "comparing_controllers.py"
        printed = run(programs / "python", "-I", script, cwd=tmp_path)
        assert printed == "patient minus hasty: 2.0, better\n"


def installed(programs: Path) -> set[str]:
    listed = run("uv", "pip", "freeze", "--python", programs / "python", cwd=programs)
    return {line.replace(" @ ", "==").split("==")[0].lower() for line in listed.splitlines()}
