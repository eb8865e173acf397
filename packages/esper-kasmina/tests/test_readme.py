from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def run(example: str) -> None:
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})


def test_the_host_example_runs():
    run(EXAMPLES[1])


def test_the_first_example_grows_what_it_says(capsys):
    run(EXAMPLES[0])
    assert re.match(r"593 parameters grown, accuracy \d+ %", capsys.readouterr().out)
