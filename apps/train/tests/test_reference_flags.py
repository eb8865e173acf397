"""The flags of the reference's two tables: shown by ``--help`` in their group."""

from __future__ import annotations

import re

import pytest

from esper_leyline import PPOConfig, TrainingConfig, parse_config
from esper_tolaria import find_preset
from esper_train import main

PPO = {
    "Training scale": (
        "--rounds --envs --episode-length --ppo-epochs --memory-size --entropy-anneal-episodes"
    ),
    "Config and presets": "--preset --config-json --task --seed",
    "Hardware and data": (
        "--device --devices --num-workers --gpu-preload --experimental-gpu-preload-gather "
        "--compile-mode --force-compile --amp"
    ),
    "Checkpoints": "--save --resume",
    "Telemetry and monitoring": (
        "--telemetry-file --telemetry-dir --telemetry-level --telemetry-lifecycle-only --no-tui "
        "--sanctum --overwatch --overwatch-port --dashboard --dashboard-port "
        "--wandb --wandb-project --wandb-entity --wandb-tags --wandb-group --wandb-name "
        "--wandb-mode --wandb-no-code --wandb-no-system"
    ),
}
HEURISTIC = (
    "--episodes --max-epochs --max-batches --task --device --seed --slots --max-seeds "
    "--min-fossilize-improvement --telemetry-file --telemetry-dir --telemetry-level"
)
WIDEST = 28
"""Characters of a flag that stand on one line of the help."""

DEFAULTS = {
    "permissive_gates": True,
    "auto_forward_g1": False,
    "auto_forward_g2": False,
    "auto_forward_g3": False,
    "n_episodes": 100,
    "n_envs": 4,
    "max_epochs": 150,
    "ppo_epochs": 1,
    "memory_size": 512,
    "entropy_anneal_episodes": 0,
    "reward_mode": "shaped",
    "reward_family": "contribution",
    "param_budget": 500_000,
    "param_penalty_weight": 0.1,
    "rent_host_params_floor": 200,
    "drip_fraction": 0.7,
}
"""The reference's parameters under the names it gives them, with its defaults."""


def groups(capsys: pytest.CaptureFixture[str], command: str) -> dict[str, str]:
    """What ``--help`` prints, by the title of the box it stands in."""
    assert main([command, "--help"]) == 0
    found: dict[str, str] = {}
    title = ""
    for line in capsys.readouterr().out.splitlines():
        if opened := re.match(r"╭─ (.+?) ─", line):
            title = opened[1]
        found[title] = found.get(title, "") + line[1:31].strip(" │")
    return found


def test_every_flag_of_ppo_stands_in_its_group(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = groups(capsys, "ppo")
    for group, flags in PPO.items():
        for flag in flags.split():
            assert flag[:WIDEST] in shown[group], f"{flag} in {group}"


def test_every_flag_of_the_heuristic_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    said = " ".join(groups(capsys, "heuristic").values())
    for flag in HEURISTIC.split():
        assert flag in said


def test_the_reference_parameters_parse_as_it_spells_them_and_are_the_defaults() -> None:
    assert parse_config(DEFAULTS) == TrainingConfig()
    assert find_preset("cifar10") == TrainingConfig()
    stable = find_preset("cifar10_stable").ppo
    assert (stable.learning_rate, stable.clip) == (1e-4, 0.1)
    assert (stable.entropy_coefficient, stable.entropy_final) == (0.06, 0.03)
    assert stable.learning_rate < PPOConfig().learning_rate


@pytest.mark.parametrize(
    "name", ["cifar10", "cifar10_stable", "cifar10_deep", "cifar10_blind", "tinystories"]
)
def test_every_preset_of_the_reference_exists(name: str) -> None:
    assert find_preset(name).task == name.removesuffix("_stable")
