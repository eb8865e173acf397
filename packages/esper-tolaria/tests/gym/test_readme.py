from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from esper_leyline import FactoredAction, Op

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")
CLOSING = "env.close()\n"


def example(mark: str) -> str:
    (code,) = re.findall(rf"^```python {mark}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return code


def execute(code: str) -> dict:
    names: dict = {}
    exec(compile(code, str(README), "exec"), names)
    return names


def test_the_example_runs(capsys):
    env = execute(example("gym"))["env"]
    assert env.closed
    assert capsys.readouterr().out.startswith("[ True  True] [")


@pytest.mark.slow
def test_the_stable_baselines_example_runs():
    view = example("gym")
    assert view.endswith(CLOSING)
    names = execute(view.removesuffix(CLOSING) + example("sb3") + CLOSING)
    assert names["model"].num_timesteps == 6


def test_infos_match_the_documented_keys(make_vector):
    table = TEXT.split("**Infos**")[1].split("**Episodes**")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    documented = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    env = make_vector(n_envs=1, max_epochs=1)
    _, start = env.reset(seed=1)
    refused = np.array([FactoredAction(op=Op.FOSSILIZE).indices()])
    last = env.step(refused)[-1]["final_info"]
    shown = {name for name in {**start, **last} if not name.startswith("_")}
    assert documented == shown | {"rollback"}
