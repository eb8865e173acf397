"""``--amp`` and ``--amp-dtype`` reach the configuration that hosts are built from."""

from __future__ import annotations

import pytest

from esper_train.settings.options import HEURISTIC_FLAGS, PPO_FLAGS, SetOptions, SourceOptions
from esper_train.settings.resolve import plan_heuristic, plan_ppo


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, (False, "bfloat16")),
        ({"amp": True}, (True, "bfloat16")),
        ({"amp": True, "amp_dtype": "float16"}, (True, "float16")),
    ],
)
def test_the_flags_reach_both_commands(flags, expected):
    flags = {"device": "cpu", **flags}
    plans = (
        plan_ppo(PPO_FLAGS(**flags), SourceOptions(preset="mnist1d")),
        plan_heuristic(HEURISTIC_FLAGS(task="mnist1d", **flags), SetOptions()),
    )
    for plan in plans:
        assert (plan.config.amp, plan.config.amp_dtype) == expected


def test_the_flags_override_a_config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"task": "mnist1d", "amp": true}')
    source = SourceOptions(config_json=path)
    plan = plan_ppo(PPO_FLAGS(device="cpu", amp_dtype="float16"), source)
    assert (plan.config.amp, plan.config.amp_dtype) == (True, "float16")
    plan = plan_ppo(PPO_FLAGS(device="cpu", amp=False), source)
    assert not plan.config.amp
