"""Every wheel stands alone: built, installed with what it declares, imported, run.

Versions come from ``uv.lock`` and files from uv's cache, which ``uv sync`` has filled. The
environments lie outside the repository and are removed as soon as they were looked at.
"""

from __future__ import annotations

import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from esper_leyline.events import PAYLOADS, RunCompleted, Vitals
from esper_nissa import Hub, JsonlSink

from .wheel_helpers import ROOT, run

pytestmark = pytest.mark.slow

PROJECTS = {
    project["name"]: project
    for project in (
        tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        for path in sorted(ROOT.glob("[ap]*/*/pyproject.toml"))
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
    # Data, schemas, styles and the page: all that is not Python.
    source = next(ROOT.glob(f"[ap]*/*/src/{package}"))
    more = {path.relative_to(source.parent).as_posix() for path in source.rglob("*.*")}
    assert {path for path in more if not path.endswith((".py", ".pyc"))} <= files


@pytest.mark.parametrize("name", PROJECTS)
def test_a_wheel_works_alone_with_what_it_declares(wheels, install, tmp_path, name):
    programs = install(wheels[name])
    run(programs / "python", "-I", "-c", f"import {name.replace('-', '_')}", cwd=tmp_path)
    for command in PROJECTS[name].get("scripts", {}):
        assert command in run(programs / command, "--help", cwd=tmp_path)
    present = installed(programs)
    dependencies = PROJECTS[name]["dependencies"]
    declared = {text.split(">=")[0] for text in dependencies if text.startswith("esper-")}
    assert {other for other in present if other.startswith("esper-")} == {name} | declared
    if name == "esper-leyline":
        assert present == PYDANTIC_ALONE
    if name == "esper-simic":
        script = ROOT / "tests" / "masked_recall.py"
        assert run(programs / "python", "-I", script, cwd=tmp_path).startswith("learnt: ")
    if name == "esper-kasmina":
        script = ROOT / "tests" / "growing_layer.py"
        assert "grown" in run(programs / "python", "-I", script, cwd=tmp_path)
    if name == "esper-simic":
        script = ROOT / "tests" / "comparing_controllers.py"
        printed = run(programs / "python", "-I", script, cwd=tmp_path)
        assert printed == "patient minus hasty: 2.0, better\n"


def test_wandb_comes_with_the_extra_of_karn_and_without_it_one_line_says_so(
    wheels, install, tmp_path
):
    folder = tmp_path / "run"
    folder.mkdir()
    with Hub("run", [JsonlSink(folder / "events.jsonl")], frozenset(PAYLOADS)) as hub:
        hub.emit(Vitals(cpu_percent=1.0))
        hub.emit(RunCompleted(status="completed", rounds_completed=0, seconds=1.0))
    send = ("wandb", folder, "--wandb-mode", "offline")
    plain = install(wheels["esper-overwatch"])
    command = [plain / "esper-overwatch", *send]
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("error: --wandb needs wandb, which is not installed; ")
    assert failed.stderr.count("\n") == 1
    karn = f"esper-karn[wandb] @ {wheels['esper-karn'].as_uri()}"
    programs = install(wheels["esper-overwatch"], karn)
    assert "wandb" in installed(programs)
    assert "upload it: uv run wandb sync" in run(programs / "esper-overwatch", *send, cwd=tmp_path)
    assert list((folder / "wandb").glob("offline-run-*/*.wandb"))


def installed(programs: Path) -> set[str]:
    listed = run("uv", "pip", "freeze", "--python", programs / "python", cwd=programs)
    return {line.replace(" @ ", "==").split("==")[0].lower() for line in listed.splitlines()}
