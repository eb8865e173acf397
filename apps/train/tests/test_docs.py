"""The references in ``docs`` are those that ``docs/generate.py`` writes."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from esper_train import main
from esper_train.cli import app
from esper_train.settings.flags import settings
from esper_train.settings.resume import RESUMABLE

DOCS = Path(__file__).parents[3] / "docs"
PAGES = runpy.run_path(str(DOCS / "generate.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name: str) -> None:
    found = (DOCS / name).read_text(encoding="utf-8")
    assert found == PAGES[name](), "run: uv run python docs/generate.py"


@pytest.fixture
def wide_help() -> Iterator[None]:
    """Prints help in 300 columns; the first help that a process prints would set the width."""
    app.console = Console(width=300)
    yield
    app.console = None


@pytest.mark.usefixtures("wide_help")
@pytest.mark.parametrize("command", ["ppo", "heuristic", "evaluate", "tasks", "config"])
def test_the_page_has_exactly_the_flags_of_the_help(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    sections = dict(
        re.findall(r"^## `esper-train (\w+)`$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    )
    documented = set(re.findall(r"^\| `(--[\w-]+)`", sections[command], re.MULTILINE))
    if command == "config":
        documented |= set(re.findall(r"^\| `(--[\w-]+)`", sections["ppo"], re.MULTILINE))
    assert main([command, "--help"]) == 0
    helped = set(re.findall(r"^\W+(--[\w-]+) ", capsys.readouterr().out, re.MULTILINE))
    assert documented == helped
    assert set(sections) == {name for name in app if not name.startswith("-")}


def test_every_key_is_there_and_those_that_may_change_on_resume_are_marked() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.]+)`( \*)? \|", page, re.MULTILINE))
    assert set(rows) == set(settings())
    for key, mark in rows.items():
        may = any(f"{key}.".startswith(f"{allowed}.") for allowed in RESUMABLE)
        assert bool(mark) == may, key
