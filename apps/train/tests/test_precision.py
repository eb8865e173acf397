"""``--amp`` and ``--amp-dtype`` reach the configuration that hosts are built from."""

from __future__ import annotations

import pytest

from esper_train.settings.options import (
    ComputeOptions,
    ConfigOptions,
    HeuristicOptions,
    ScaleOptions,
    TelemetryOptions,
)
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
    hardware, telemetry = ComputeOptions(device="cpu", **flags), TelemetryOptions()
    plans = (
        plan_ppo(ScaleOptions(), ConfigOptions(preset="mnist1d"), hardware, telemetry),
        plan_heuristic(HeuristicOptions(task="mnist1d"), hardware, telemetry),
    )
    for plan in plans:
        assert (plan.config.amp, plan.config.amp_dtype) == expected


def test_the_flags_go_over_a_config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"task": "mnist1d", "amp": true}')
    config = ConfigOptions(config_json=path)
    hardware = ComputeOptions(device="cpu", amp_dtype="float16")
    plan = plan_ppo(ScaleOptions(), config, hardware, TelemetryOptions())
    assert (plan.config.amp, plan.config.amp_dtype) == (True, "float16")
