"""The README's table of models has a row for each case of the script that makes it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
SCRIPT = (ROOT / "tests" / "benchmarks" / "models.py").read_text(encoding="utf-8")
README = (ROOT / "packages" / "esper-kasmina" / "README.md").read_text(encoding="utf-8")


def test_every_case_has_a_row_and_every_harvest_is_exact():
    cases = re.findall(r'^ +Case\("(\w+)", "(\w+)"', SCRIPT, re.MULTILINE)
    table = README.split("<!-- models: begin -->\n")[1].split("<!-- models: end -->")[0]
    rows = [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]
    assert [(row[0], row[1]) for row in rows] == cases
    assert [row[-1] for row in rows] == ["0"] * len(cases)
