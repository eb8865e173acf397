"""Run configurations: defaults of the reference, strictness, spellings and overrides."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_leyline import (
    HEADS,
    ConfigError,
    PPOConfig,
    TrainingConfig,
    override,
    parse_config,
    read_config,
)
from esper_leyline.config.overrides import FLAT_KEYS, flatten_config

REFERENCE = {
    "task": "cifar10",
    "n_episodes": 100,
    "n_envs": 4,
    "max_epochs": 150,
    "slots": None,
    "max_seeds": None,
    "data_root": "data",
    "ppo.epochs": 1,
    "ppo.entropy_anneal_episodes": 0,
    "ppo.chunk_length": None,
    "policy.feature_size": 512,
    "policy.memory_size": 512,
    "lifecycle.permissive_gates": True,
    "lifecycle.auto_forward_g1": False,
    "lifecycle.auto_forward_g2": False,
    "lifecycle.auto_forward_g3": False,
    "reward.mode": "shaped",
    "reward.family": "contribution",
    "reward.param_budget": 500_000,
    "reward.param_penalty_weight": 0.1,
    "reward.rent_host_params_floor": 200,
    "reward.drip_fraction": 0.7,
    "telemetry.level": "normal",
    "telemetry.lifecycle_only": False,
}
LEARNING = {
    "ppo.gamma": 0.995,
    "ppo.gae_lambda": 0.98,
    "ppo.clip": 0.2,
    "ppo.learning_rate": 3e-4,
    "ppo.adam_eps": 1e-5,
    "ppo.max_grad_norm": 5.0,
    "ppo.value_coefficient": 0.5,
    "ppo.entropy_coefficient": 0.05,
    "ppo.bootstrap_horizon": False,
    "ppo.critic": "q",
}


def look_up(config, path):
    for part in path.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize(("path", "value"), {**REFERENCE, **LEARNING}.items())
def test_a_default_is_the_one_documented(path, value):
    assert look_up(TrainingConfig(), path) == value
    assert look_up(TrainingConfig(task="cifar10"), path) == value


def test_the_example_of_the_reference_parses():
    config = parse_config({"permissive_gates": True, "n_episodes": 100, "n_envs": 4})
    assert config == TrainingConfig()


FLAT = {
    "permissive_gates": ("lifecycle.permissive_gates", False),
    "auto_forward_g1": ("lifecycle.auto_forward_g1", True),
    "auto_forward_g2": ("lifecycle.auto_forward_g2", True),
    "auto_forward_g3": ("lifecycle.auto_forward_g3", True),
    "reward_mode": ("reward.mode", "sparse"),
    "reward_family": ("reward.family", "loss"),
    "param_budget": ("reward.param_budget", 7),
    "param_penalty_weight": ("reward.param_penalty_weight", 0.25),
    "rent_host_params_floor": ("reward.rent_host_params_floor", 7),
    "drip_fraction": ("reward.drip_fraction", 0.25),
    "ppo_epochs": ("ppo.epochs", 7),
    "chunk_length": ("ppo.chunk_length", 7),
    "entropy_anneal_episodes": ("ppo.entropy_anneal_episodes", 7),
    "memory_size": ("policy.memory_size", 77),
    "compile_mode": ("compile.mode", "off"),
    "force_compile": ("compile.force", True),
}


@pytest.mark.parametrize("key", FLAT_KEYS)
def test_a_flat_spelling_sets_the_nested_key(key):
    path, value = FLAT[key]
    assert look_up(parse_config({key: value}), path) == value


def test_a_flat_spelling_joins_its_nested_section():
    config = parse_config({"ppo_epochs": 3, "ppo": {"gamma": 0.9}})
    assert (config.ppo.epochs, config.ppo.gamma) == (3, 0.9)


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ({"n_env": 4}, "n_envs"),
        ({"permisive_gates": True}, "permissive_gates"),
        ({"gamma": 0.9}, "ppo.gamma"),
        ({"learning_rate": 0.1}, "ppo.learning_rate"),
        ({"telemetry_level": "debug"}, "telemetry.level"),
        ({"ppo": {"epoch": 3}}, "ppo.epochs"),
        ({"host": {"learning_rat": 1}}, "host.learning_rate"),
        ({"lifecycle": {"n_envs": 3}}, "n_envs"),
    ],
)
def test_an_unknown_key_names_the_nearest_valid_one(written, nearest):
    with pytest.raises(ConfigError, match=rf"the nearest valid key is '{re.escape(nearest)}'$"):
        parse_config(written)


def test_an_unknown_key_without_a_near_one_lists_the_valid_ones():
    with pytest.raises(ConfigError) as caught:
        parse_config({"governor": {"zzz": 1}})
    assert str(caught.value) == (
        "unknown key 'governor.zzz'; valid keys: governor.chance_margin, "
        "governor.divergence_factor, governor.divergence_loss, governor.divergence_patience, "
        "governor.divergence_sigmas, governor.snapshot_every"
    )


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"n_envs": 0}, "'n_envs': Input should be greater than or equal to 1 (given: 0)"),
        ({"n_envs": "f\nour"}, "(given: 'f\\nour')"),
        ({"reward_mode": 3}, "'reward.mode': Input should be a valid string (given: 3)"),
        ({"reward": 3}, "'reward': Input should be an object (given: 3)"),
        ({"reward": [1], "reward_mode": "basic"}, "'reward': Input should be an object"),
        ({"reward": {"mode": "basic"}, "reward_mode": "basic"}, "are the same setting"),
        ({"reward": {"ablate": ["pbrs"]}}, "'shaping', 'attribution', 'drip'"),
        ({"reward": {"rent_cap": math.nan}}, "Input should be a finite number (given: nan)"),
        ({"slots": ["r0c0", "r0c0"]}, "'slots': slot 'r0c0' is named twice"),
        ({"slots": ["r0"]}, "(given: 'r0')"),
        ({"seed": 2**31}, "'seed': Input should be less than"),
        ({"policy": {"floors": {"op": 0.1}}}, "floors name each head once"),
        (
            {"policy": {"floors": dict.fromkeys(HEADS, 1)}},
            "'policy.floors.op': Input should be less than 1",
        ),
        ({"ppo": {"entropy_multipliers": {"opp": 1}}}, "no head 'opp'; heads: op, slot"),
    ],
)
def test_a_bad_value_is_one_line_that_says_what_is_allowed(written, says):
    with pytest.raises(ConfigError) as caught:
        parse_config(written)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON: "),
        ("\ufeff{}", "is not JSON: "),
        ("[1]", "holds a list; write a JSON object"),
        ('{"n_env": 4}', "the nearest valid key is 'n_envs'"),
        ('{"ppo.clip": 0.1}', 'write it nested: "ppo": {"clip": ...}'),
        ('{"slots": ["r0c1", "r0c1"]}', "slot 'r0c1' is named twice"),
        ('{"ppo": {"gamma": NaN}}', "contains NaN, which is not a number of JSON"),
    ],
)
def test_a_bad_file_is_one_line_with_its_name(tmp_path, content, says):
    path = tmp_path / "run.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    message = str(caught.value)
    assert message.startswith(f"config '{path}'")
    assert says in message
    assert "\n" not in message


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=9), each),
    max_leaves=6,
)
_KEYS = sorted(flatten_config(TrainingConfig(task="mnist1d").model_dump(mode="json")))


@settings(deadline=None)
@given(
    content=st.binary(max_size=100)
    | st.builds(
        lambda key, value: json.dumps({key: value}).encode(),
        st.sampled_from([*_KEYS, *FLAT_KEYS, *TrainingConfig.model_fields]),
        _VALUES,
    )
)
def test_any_file_is_a_config_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    try:
        read_config(path)
    except ConfigError as error:
        said = str(error)
    else:
        return
    assert said.startswith(f"config '{path}'")
    assert "\n" not in said


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(
            ConfigError, match=r"^config '.*' (is a folder|cannot be read: )[^\n]*$"
        ):
            read_config(path)


def test_bytes_that_are_not_text_are_one_line(tmp_path):
    path = tmp_path / "run.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not JSON"):
        read_config(path)


def test_a_written_config_reads_back_equal(tmp_path):
    config = TrainingConfig(task="mnist1d", n_envs=2, ppo={"epochs": 3})
    path = tmp_path / "config.json"
    path.write_text(config.model_dump_json(), encoding="utf-8")
    assert read_config(path) == config


def test_override_merges_nested_parts_key_by_key():
    base = TrainingConfig(task="mnist1d")
    config = override(base, {"n_envs": 2, "ppo": {"gamma": 0.9}, "memory_size": 16})
    assert config.n_envs == 2
    assert config.ppo == base.ppo.model_copy(update={"gamma": 0.9})
    assert config.policy == base.policy.model_copy(update={"memory_size": 16})
    unchanged = {"n_envs", "ppo", "policy"}
    assert config.model_dump(exclude=unchanged) == base.model_dump(exclude=unchanged)


def test_override_replaces_what_is_no_section():
    config = override(TrainingConfig(), {"slots": ("r0c1", "r0c0"), "host": {"batch_size": 4}})
    assert config.slots == ("r0c0", "r0c1")
    assert config.host.batch_size == 4
    floors = override(config, {"policy": {"floors": {"op": 0.3}}}).policy.floors
    assert (floors["op"], floors["slot"]) == (0.3, 0.05)


def test_override_with_nothing_changes_nothing():
    assert override(TrainingConfig(task="tinystories"), {}) == TrainingConfig(task="tinystories")


def test_override_is_as_strict_as_a_file():
    with pytest.raises(ConfigError, match=r"nearest valid key is 'ppo\.epochs'"):
        override(TrainingConfig(), {"ppo": {"epoch": 2}})


def test_a_config_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        PPOConfig().gamma = 0.5
