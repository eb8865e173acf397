"""``esper-train config``: what a run would use, and where each value comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esper_leyline import TrainingConfig, read_config
from esper_leyline.config.overrides import flatten_config
from esper_tolaria import find_preset, find_task
from esper_train import main


@pytest.fixture(autouse=True)
def as_wide_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def table(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, tuple[object, str]]:
    """Value and source by key."""
    assert main(["config", "--device", "cpu", *flags]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["setting", "value", "from"]
    start, end = head.index("value"), head.index("from")
    return {
        line[:start].strip(): (json.loads(line[start:end]), line[end:].strip()) for line in lines
    }


def test_every_value_has_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = table(
        capsys,
        *("--preset", "digits", "--rounds", "3", "--set", "ppo.clip=0.1"),
        *("--host-batch-size", "64", "--entropy-anneal-episodes", "40"),
    )
    assert shown["n_episodes"] == (3, "--rounds")
    assert shown["ppo.clip"] == (0.1, "--set ppo.clip")
    assert shown["device"] == ("cpu", "--device")
    assert shown["ppo.learning_rate"] == (find_preset("digits").ppo.learning_rate, "preset digits")
    assert shown["ppo.gamma"] == (0.995, "default")
    assert shown["slots"] == (list(find_task("digits").spec.slots), "task digits")
    assert shown["host.batch_size"] == (64, "--host-batch-size")
    assert shown["host.optimizer"] == (find_task("digits").spec.training.optimizer, "task digits")
    assert shown["ppo.entropy_final"] == (0.01, "half of ppo.entropy_coefficient")


def test_the_source_of_a_setting_from_a_file_is_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"task": "digits", "ppo": {"clip": 0.3}, "reward_mode": "sparse"}')
    shown = table(capsys, "--config-json", str(path))
    for key, value in (("task", "digits"), ("ppo.clip", 0.3), ("reward.mode", "sparse")):
        assert shown[key] == (value, f"file {path}")
    assert shown["ppo.epochs"] == (TrainingConfig().ppo.epochs, "default")


def test_every_setting_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    shown = table(capsys, "--preset", "digits")
    keys = set(flatten_config(find_preset("digits").model_dump(mode="json"))) - {"host"}
    assert keys <= set(shown)


def test_json_is_a_file_that_config_json_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--preset", "digits", "--rounds", "3", "--device", "cpu")
    assert main(["config", *flags, "--json"]) == 0
    path = tmp_path / "config.json"
    path.write_text(capsys.readouterr().out)
    assert read_config(path).n_episodes == 3
    assert main(["config", "--config-json", str(path), "--json"]) == 0
    assert capsys.readouterr().out == path.read_text()


def test_a_checkpoint_is_a_source(ppo_run, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = ppo_run.directory / str(ppo_run.summary.checkpoint)
    shown = table(capsys, "--resume", str(checkpoint), "--rounds", "5")
    assert shown["n_episodes"] == (5, "--rounds")
    assert shown["n_envs"] == (2, f"checkpoint {checkpoint}")


def test_it_is_the_configuration_that_a_run_uses(
    ppo_run, small, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", *small, "--rounds", "2", "--json"]) == 0
    assert capsys.readouterr().out == (ppo_run.directory / "config.json").read_text()


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--dual-ab", "shaped-vs-sparse"], ["--dual-ab", "--reward-mode"]),
        (["--preset", "digit"], ["'digit'", "digits"]),
        (["--ppo-clip", "2"], ["--ppo-clip", "less than 1"]),
        (["--resume", "nowhere.safetensors"], ["nowhere.safetensors", "No such file"]),
    ],
)
def test_a_mistake_is_one_line(flags, parts, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    for part in parts:
        assert part in captured.err


def test_a_flag_that_overrides_two_settings_of_a_file_is_named_for_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"task": "digits", "compile": {"force": true}, "devices": ["cpu", "cpu"]}')
    shown = table(capsys, "--config-json", str(path), "--compile-mode", "off")
    assert shown["compile.force"] == (False, "--compile-mode")
    assert shown["devices"] == ([], "--device")
