"""``--devices``, ``--num-workers`` and their sisters reach the configuration."""

from __future__ import annotations

import pytest

from esper_leyline import EnvironmentSpec, EsperError
from esper_leyline.config.host import FeedConfig
from esper_train.commands.heuristic import heuristic_rules
from esper_train.evaluation.arms import read_arms
from esper_train.settings.options import HEURISTIC_FLAGS, PPO_FLAGS, SetOptions, SourceOptions
from esper_train.settings.resolve import plan_heuristic, plan_ppo


def plan(config=None, **flags):
    return plan_ppo(PPO_FLAGS(**flags), config or SourceOptions(preset="digits")).config


def test_devices_are_spread_over_and_the_policy_takes_the_first():
    config = plan(devices=["cpu", "cpu"])
    assert config.devices == ("cpu", "cpu")
    assert config.device == "cpu"


def test_one_device_overrides_the_configs_several(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"task": "digits", "devices": ["cpu", "cpu"]}')
    spread = SourceOptions(config_json=path)
    assert plan(spread).devices == ("cpu", "cpu")
    assert plan(spread, device="cpu").devices == ()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"devices": ["cpu", "cuda:97"]}, "device 'cuda:97' is not available"),
        ({"devices": ["cpu"], "device": "cuda:0"}, "is none of --devices cpu"),
        ({"gpu_preload": True, "device": "cpu"}, "gpu_preload needs a CUDA device"),
        ({"num_workers": -1, "device": "cpu"}, "--num-workers"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_written(flags, message):
    with pytest.raises(EsperError, match=message):
        plan(**flags)


def test_the_flags_set_the_feed():
    config = plan(device="cpu", num_workers=2)
    assert config.feed == FeedConfig(num_workers=2)
    gathered = plan(device="cpu", experimental_gpu_preload_gather=True)
    assert gathered.feed == FeedConfig(gpu_preload_gather=True)


def test_the_flag_sets_the_heuristics_improvement():
    for name, points, expected in (
        ("digits", 2.5, 2.5),
        ("digits", None, 0.5),
        ("topics", None, 0.1),
    ):
        flags = HEURISTIC_FLAGS(task=name, min_fossilize_improvement=points, device="cpu")
        plan = plan_heuristic(flags, SetOptions())
        assert heuristic_rules(plan.task, plan.config).fossilize_points == expected


def test_an_evaluated_heuristic_has_the_rules_of_its_command():
    run = plan_heuristic(HEURISTIC_FLAGS(task="topics", device="cpu"), SetOptions())
    spec = EnvironmentSpec(
        environments=1,
        max_epochs=10,
        slots=run.task.slots,
        topology=run.task.host.topology,
        blueprints=run.task.blueprints,
        styles=run.task.styles,
        host_parameters=1,
    )
    (arm,) = read_arms(["heuristic"])
    controller = arm.prepare(spec, run, greedy=False)(spec)
    assert controller._config.fossilize_points == 0.1
