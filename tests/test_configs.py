"""Every file in ``configs/`` is one that ``--config-json`` takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from esper_leyline import TrainingConfig, read_config
from esper_tolaria import find_preset, preset_names

CONFIGS = sorted((Path(__file__).parents[1] / "configs").iterdir())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_config_reads_and_equals_the_preset_it_is_named_after(path):
    config = read_config(path)
    if path.stem in preset_names():
        assert config == find_preset(path.stem)


def test_the_small_preset_has_its_file():
    assert "mnist1d_blind.json" in {path.name for path in CONFIGS}


def test_the_example_config_spells_out_the_defaults():
    config = read_config(CONFIGS[0].parent / "ppo_config.json")
    assert config == TrainingConfig()
    assert (config.lifecycle.permissive_gates, config.n_episodes, config.n_envs) == (True, 100, 4)
