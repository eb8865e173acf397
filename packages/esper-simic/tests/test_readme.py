from __future__ import annotations

import re
from pathlib import Path

import esper_simic
from esper_leyline import RewardConfig
from esper_simic import evaluation

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def example(containing: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return next(block for block in blocks if containing in block)


def test_the_example_runs(capsys):
    exec(compile(example("build_reward("), "README.md", "exec"), {})
    total = float(capsys.readouterr().out.split()[0])
    assert 0 < total < 0.2


def test_the_evaluation_example_runs(capsys):
    exec(compile(example("compare(grown"), "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("better value=")


def test_every_mode_and_part_has_its_row():
    for mode, family in esper_simic.REWARDS:
        assert f"| `{mode}` |" in README
        reward = esper_simic.build_reward(RewardConfig(mode=mode, family=family), gamma=0.995)
        assert all(f"| {part} |" in README for part in reward.parts)


def test_every_public_name_of_the_evaluation_is_in_the_readme():
    names = set(re.findall(r"`(?:evaluation\.)?(\w+)`", README))
    assert set(evaluation.__all__) <= names


def test_every_public_name_is_in_the_readme():
    missing = [name for name in esper_simic.__all__ if f"`{name}`" not in README]
    assert missing == ["Anomaly"]


def test_every_public_name_exists():
    assert all(hasattr(esper_simic, name) for name in esper_simic.__all__)
    assert list(esper_simic.__all__) == sorted(esper_simic.__all__, key=_order)


def _order(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
