"""The house keeps its rules: who may import whom, what a member holds, what stays light."""

from __future__ import annotations

import ast
import gzip
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MEMBERS = sorted(path.parent for path in ROOT.glob("[ap]*/*/pyproject.toml"))
FOREIGN = re.compile(
    r"https?://[\w.-]*(?:\bpy\w+\.org|\bregistry\.|\bnpm\w*\.)"
    r"|(?<![\w.~$}-])/(?:root|home|work|farm|opt)/\w"
)
BINARY = {".png", ".woff2", ".safetensors", ".npz"}


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def import_name(folder: Path) -> str:
    return project(folder)["project"]["name"].replace("-", "_")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )


def test_the_members_are_the_seven_domains_and_two_apps():
    names = {str(folder.relative_to(ROOT)) for folder in MEMBERS}
    domains = {"leyline", "kasmina", "tamiyo", "tolaria", "simic", "nissa", "karn"}
    assert names == {f"packages/esper-{domain}" for domain in domains} | {
        "apps/train",
        "apps/overwatch",
    }


def test_import_linter_watches_every_member():
    roots = project(ROOT)["tool"]["importlinter"]["root_packages"]
    assert sorted(roots) == sorted(import_name(folder) for folder in MEMBERS)


def test_import_linter_finds_no_broken_contract():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", MEMBERS, ids=lambda folder: folder.name)
def test_only_torch_files_use_what_is_private_in_torch(folder):
    private = re.compile(r"torch(\.\w+)*\._[a-z]")
    users = {
        path.name
        for path in (folder / "src").rglob("*.py")
        if private.search(path.read_text(encoding="utf-8"))
    }
    assert users <= {"_torch.py"}


@pytest.mark.parametrize("folder", MEMBERS, ids=lambda folder: folder.name)
def test_a_member_has_all_required_files(folder):
    source = folder / "src" / import_name(folder)
    assert (source / "__init__.py").is_file()
    assert (source / "py.typed").is_file()
    assert list((folder / "tests").glob("test_*.py"))
    assert (folder / "README.md").stat().st_size > 300
    version = project(folder)["project"]["version"]
    changelog = (folder / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(version)}\b", changelog, re.MULTILINE)


@pytest.mark.parametrize("folder", MEMBERS, ids=lambda folder: folder.name)
def test_a_member_says_its_licence_and_which_siblings_it_works_with(folder):
    described = project(folder)["project"]
    assert described["license"] == "MIT"
    assert described["license-files"] == ["LICENSE"]
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert described["authors"]
    assert described["classifiers"]
    versions = {each["name"]: each["version"] for each in map(_described, MEMBERS)}
    for text in described["dependencies"]:
        if text.startswith("esper-"):
            name = text.split(">=")[0]
            major, minor, _ = versions[name].split(".")
            assert text == f"{name}>={major}.{minor},<{major}.{int(minor) + 1}"


def _described(folder: Path) -> dict:
    return project(folder)["project"]


@pytest.mark.parametrize("folder", MEMBERS, ids=lambda folder: folder.name)
def test_a_member_depends_only_on_permitted_members(folder):
    """Domains depend on Leyline alone among ours; nothing depends on an app."""
    ours = {project(member)["project"]["name"]: member.parent.name for member in MEMBERS}
    required = {
        re.split(r"[^A-Za-z0-9._-]", text)[0] for text in project(folder)["project"]["dependencies"]
    }
    inside = required & set(ours)
    if folder.parent.name == "packages":
        assert inside <= {"esper-leyline"}
    assert all(ours[name] == "packages" for name in inside)


def test_the_workspace_itself_is_not_a_package():
    assert project(ROOT)["tool"]["uv"]["package"] is False
    dependencies = project(ROOT)["project"]["dependencies"]
    assert set(dependencies) == {"esper-train", "esper-overwatch[tui,web]"}


def test_importing_leyline_loads_neither_torch_nor_numpy():
    done = run_python(
        "import sys, esper_leyline; print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["ppo", "--help"], ["heuristic", "--help"], ["tasks", "--help"]],
    ids=" ".join,
)
def test_help_of_esper_train_loads_no_torch(arguments):
    done = run_python(
        "import sys\n"
        "from esper_train.cli import main\n"
        "try:\n"
        f"    code = main({arguments!r})\n"
        "except SystemExit as exit:\n"
        "    code = exit.code\n"
        "heavy = {'torch', 'torchvision', 'numpy'} & set(sys.modules)\n"
        "print(f'loaded {sorted(heavy)}, exit code {code or 0}')\n"
    )
    assert done.stdout.splitlines()[-1:] == ["loaded [], exit code 0"], done.stderr
    assert "esper-train" in done.stdout


def test_esper_overwatch_loads_no_torch():
    done = run_python(
        "import sys\n"
        "from esper_overwatch.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print('torch' in sys.modules)\n"
    )
    assert done.stdout.splitlines()[-1:] == ["False"], done.stderr


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    """Only ``uv.lock`` may: it is as uv writes it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    found = []
    for name in sorted(set(listed.split("\0")) - {"", "uv.lock"}):
        path = ROOT / name
        if not path.is_file() or path.suffix in BINARY:
            continue
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        lines = content.decode("utf-8").splitlines()
        found += [f"{name}:{i}: {line}" for i, line in enumerate(lines, 1) if FOREIGN.search(line)]
    assert found == []


def test_the_search_for_foreign_names_finds_them():
    for text in ("https" + "://pypi.org/simple", "https" + "://registry.x.org", "see /ro" + "ot/x"):
        assert FOREIGN.search(text)


PRINTERS = {
    "packages/esper-karn/src/esper_karn/console/screen.py",
    "packages/esper-karn/src/esper_karn/schemas/export.py",  # for developers
    "packages/esper-leyline/src/esper_leyline/schemas/export.py",  # for developers
}
"""The modules that may write to the standard streams."""

WRITES = {"print", "Console", "sys.stdout.write", "sys.stderr.write", "sys.stdout.writelines"}
WRITES |= {"sys.stderr.writelines", "rich.print", "traceback.print_exc", "argparse.ArgumentParser"}


def written_calls(source: str) -> list[str]:
    """The calls in a module that write to a standard stream past Karn's screen."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [name for name in map(ast.unparse, calls) if name in WRITES]


def test_all_output_passes_through_one_module():
    found = {}
    for path in sorted(ROOT.glob("*/*/src/**/*.py")):
        name = path.relative_to(ROOT).as_posix()
        calls = written_calls(path.read_text(encoding="utf-8"))
        if calls and name not in PRINTERS:
            found[name] = calls
    assert found == {}


def test_the_search_for_output_finds_it():
    assert written_calls("print(1)\nsys.stdout.write('a')\nConsole().print('x')") == [
        *("print", "sys.stdout.write", "Console"),
    ]
