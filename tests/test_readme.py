"""What README.md and the pages in docs/ say is so: their commands run, their links lead somewhere.

A ``bash`` block says in its first line how it is tested: ``test`` (now), ``slow-test`` or
``nightly-test`` (with the tests of that tier), or ``by-hand`` (it installs something, or would
run these tests inside themselves).
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from esper_train import main

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}
LINKING = [
    *(str(path.relative_to(ROOT)) for path in PAGES),
    *("ARCHITECTURE.md", "CONTRIBUTING.md", "packages/esper-leyline/README.md"),
    "packages/esper-kasmina/README.md",
]
BLOCKS = [
    block
    for text in TEXTS.values()
    for block in re.findall(r"^```bash ?([\w-]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
]


def first_lines(mark: str) -> list:
    return [pytest.param(code, id=code.splitlines()[0]) for name, code in BLOCKS if name == mark]


def execute(code: str, folder: Path) -> str:
    """Runs a block in a folder of its own, with the environment as it is installed."""
    (folder / "configs").symlink_to(ROOT / "configs")
    environment = {**os.environ, "UV_PROJECT": str(ROOT), "UV_NO_SYNC": "1", "NO_COLOR": "1"}
    environment["COLUMNS"] = "120"  # the longest flag is cut in two at 80
    environment["CUDA_VISIBLE_DEVICES"] = ""  # the README speaks of a machine without a GPU
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_every_bash_block_says_how_it_is_tested():
    written = sum(len(re.findall(r"^```bash", text, re.MULTILINE)) for text in TEXTS.values())
    assert len(BLOCKS) == written
    assert {mark for mark, _ in BLOCKS} == {"test", "slow-test", "nightly-test", "by-hand"}


def test_the_two_commands_of_the_quick_start_are_there():
    assert ("nightly-test", "uv run esper-train ppo\n") in BLOCKS
    assert ("by-hand", "uv run pytest -q\n") in BLOCKS


@pytest.mark.parametrize("code", first_lines("test"))
def test_a_block_runs(code, tmp_path):
    assert execute(code, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("code", first_lines("slow-test"))
def test_a_longer_block_runs(code, tmp_path):
    check_runs(code, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("code", first_lines("nightly-test"))
def test_a_block_of_minutes_runs(code, tmp_path):
    check_runs(code, tmp_path)


def check_runs(code, tmp_path):
    printed = execute(code, tmp_path)
    runs = [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    evaluations = [path for path in (tmp_path / "evaluations").glob("*") if path.is_dir()]
    # A run that is resumed stays in its own directory.
    begun = code.count("uv run esper-train") - code.count("--resume")
    assert len(runs) + len(evaluations) == begun
    assert len(evaluations) == code.count("uv run esper-train evaluate")
    for evaluation in evaluations:
        assert evaluation.name in printed
        written = {path.name for path in evaluation.iterdir()}
        assert written == {"evaluation.json", "evaluation.png"}
    for run in runs:
        assert run.name in printed
        assert {path.name for path in run.iterdir()} >= {
            "config.json",
            "events.jsonl",
            "summary.json",
        }


def test_the_table_of_tasks_equals_the_output_of_the_command(capsys):
    page = TEXTS[ROOT / "docs" / "tasks.md"]
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+) \|[^|]*\|$", page, re.MULTILINE)
    assert main(["tasks", "--no-time"]) == 0
    printed = capsys.readouterr().out.split("\n\n")[0]
    listed = [re.split(r" {2,}", line) for line in printed.splitlines()[1:]]
    assert sorted(rows) == [(name, parameters) for name, _, parameters, *_ in listed]


def test_the_readme_is_a_front_page():
    assert len(TEXTS[ROOT / "README.md"].splitlines()) <= 130


@pytest.mark.parametrize("page", DOCS, ids=lambda path: path.name)
def test_every_page_is_linked(page):
    others = [text for path, text in TEXTS.items() if path != page]
    assert any(re.search(rf"\]\((docs/)?{page.name}(#[^)]*)?\)", text) for text in others)


@pytest.mark.parametrize("name", LINKING)
def test_links_lead_somewhere(name):
    page = ROOT / name
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue  # no network here
        target, _, anchor = link.partition("#")
        path = page.parent / target if target else page
        assert path.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, link


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
