from __future__ import annotations

from pathlib import Path

import pytest

from esper_train import main
from esper_train.settings.options import PPO_FLAGS, SourceOptions
from esper_train.settings.resolve import plan_ppo


def plan(preset: str, episodes: int | None):
    return plan_ppo(
        PPO_FLAGS(entropy_anneal_episodes=episodes, device="cpu"), SourceOptions(preset=preset)
    )


def test_the_entropy_bonus_is_halved_by_default() -> None:
    settled = plan("mnist1d_blind", 60)
    assert settled.config.ppo.entropy_anneal_episodes == 60
    assert settled.config.ppo.entropy_coefficient == 0.02
    assert settled.config.ppo.entropy_final == 0.01
    assert any("0.02 to 0.01" in note for note in settled.notes)


def test_a_presets_own_final_entropy_is_kept() -> None:
    settled = plan("cifar10_stable", 80)
    assert settled.config.ppo.entropy_anneal_episodes == 80
    assert settled.config.ppo.entropy_final == 0.03
    assert not any("entropy" in note for note in settled.notes)


@pytest.mark.parametrize(("episodes", "expected"), [(None, 200), (0, 0)])
def test_the_flag_overrides_the_preset_and_zero_switches_off(episodes, expected) -> None:
    assert plan("cifar10_stable", episodes).config.ppo.entropy_anneal_episodes == expected


def test_a_negative_number_of_episodes_names_the_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--entropy-anneal-episodes", "-5", "--runs", str(tmp_path)]
    assert main(["ppo", "--preset", "mnist1d_blind", *flags]) == 2
    errors = capsys.readouterr().err
    assert "--entropy-anneal-episodes" in errors
    assert errors.count("\n") == 1
