from __future__ import annotations

import importlib
import subprocess
import sys

import pytest


def test_importing_registers_nothing_and_tolaria_does_not_need_gymnasium():
    code = (
        "import sys, esper_tolaria\n"
        "print('gymnasium' in sys.modules)\n"
        "import gymnasium\n"
        "before = dict(gymnasium.registry)\n"
        "import esper_tolaria.gym\n"
        "print(gymnasium.registry == before, 'stable_baselines3' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["False", "True", "False"], done.stderr


@pytest.mark.parametrize(
    ("module", "needs", "extra"),
    [
        ("esper_tolaria.gym", "gymnasium", "gym"),
        ("esper_tolaria.gym.stable_baselines", "stable_baselines3", "sb3"),
    ],
)
def test_a_missing_extra_is_named_in_the_import_error(monkeypatch, module, needs, extra):
    importlib.import_module(module)
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, needs, None)
    with pytest.raises(ImportError, match=rf"pip install esper-tolaria\[{extra}\]"):
        importlib.import_module(module)
