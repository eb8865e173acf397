from __future__ import annotations

import re
from pathlib import Path

import esper_simic

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(capsys):
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    exec(compile(example, "README.md", "exec"), {})
    total = float(capsys.readouterr().out.split()[0])
    assert 0 < total < 0.2


def test_every_public_name_is_in_the_readme():
    missing = [name for name in esper_simic.__all__ if f"`{name}`" not in README]
    assert missing == ["Anomaly"]


def test_every_public_name_exists():
    assert all(hasattr(esper_simic, name) for name in esper_simic.__all__)
    assert list(esper_simic.__all__) == sorted(esper_simic.__all__, key=_order)


def _order(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
