"""A user's mistake is one line that names the value and what is allowed, and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from esper_train import main

MISTAKES = {
    "unknown flag": (["--rouns", "3"], ["--rouns", "--rounds", "--help"]),
    "not a number": (["--rounds", "many"], ["--rounds", "many"]),
    "no rounds": (["--rounds", "0"], ["--rounds", "0", "greater"]),
    "unknown task": (["--task", "mnist"], ["task", "'mnist'", "mnist1d"]),
    "unknown preset": (["--preset", "mnist"], ["preset", "'mnist'", "mnist1d"]),
    "unknown level": (["--telemetry-level", "loud"], ["loud", "minimal", "debug"]),
    "unknown profile": (["--telemetry-profile", "deep"], ["deep", "minimal", "research"]),
    "a profile without telemetry": (
        ["--preset", "mnist1d", "--telemetry-profile", "standard", "--telemetry-level", "off"],
        ["'standard'", "'off'", "--telemetry-level normal", "--telemetry-profile minimal"],
    ),
    "a profile that is not written": (
        ["--set", "telemetry.profile=research", "--telemetry-level", "minimal"],
        ["'research'", "'minimal'", "--telemetry-level normal"],
    ),
    "slot that the host lacks": (
        ["--preset", "mnist1d_blind", "--slots", "r0c0", "r0c7"],
        ["r0c7", "r0c0, r0c1, r0c2"],
    ),
    "malformed slot": (["--preset", "mnist1d_blind", "--slots", "left"], ["left"]),
    "device that is not here": (
        ["--preset", "mnist1d_blind", "--device", "cuda:77"],
        ["cuda:77", "cpu"],
    ),
    "unknown type": (["--amp", "--amp-dtype", "int8"], ["int8", "bfloat16", "float16"]),
    "a type for nothing": (
        ["--preset", "mnist1d", "--amp-dtype", "float16"],
        ["--amp-dtype float16", "--amp"],
    ),
    "missing config": (["--config-json", "nowhere.json"], ["nowhere.json"]),
    "missing checkpoint": (["--resume", "nowhere.safetensors"], ["nowhere.safetensors"]),
}


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code = main(arguments)
    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize("name", MISTAKES)
def test_ppo_names_the_mistake(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, parts = MISTAKES[name]
    message = complaint(capsys, "ppo", *arguments)
    for part in parts:
        assert part in message


def test_unavailable_data_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchvision.datasets import CIFAR10

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:1/cifar-10-python.tar.gz")
    data, runs = tmp_path / "data", tmp_path / "runs"
    where = ("--data-root", str(data), "--runs", str(runs), "--device", "cpu")
    for command in (("ppo", "--preset", "cifar10"), ("heuristic", "--task", "cifar10_blind")):
        message = complaint(capsys, *command, *where)
        for part in (str(data), "curl", "--data-root", "mnist1d_blind", "topics"):
            assert part in message
    assert not runs.exists()


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "ppo" in complaint(capsys, "pppo")


def test_an_unknown_config_key_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"task": "mnist1d", "reward_moode": "shaped"}')
    message = complaint(capsys, "ppo", "--config-json", str(path))
    assert "reward_moode" in message
    assert "reward_mode" in message


def test_ablating_a_part_that_the_mode_lacks_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"task": "mnist1d", "reward": {"mode": "sparse", "ablate": ["drip"]}}')
    runs = tmp_path / "runs"
    message = complaint(capsys, "ppo", "--config-json", str(path), "--runs", str(runs))
    assert "'drip'" in message
    assert "'sparse'" in message
    assert "rent, terminal" in message
    assert not runs.exists()


def test_a_runs_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    arguments = ("--preset", "mnist1d_blind", "--device", "cpu")
    for folder in (blocked, blocked / "runs", Path("/proc/runs")):
        message = complaint(capsys, "ppo", *arguments, "--runs", str(folder))
        assert str(folder) in message


def test_heuristic_names_the_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--episodes" in complaint(capsys, "heuristic", "--episodes", "0")
    assert "--max-batches" in complaint(capsys, "heuristic", "--max-batches", "-1")


def test_a_file_that_is_no_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.safetensors"
    path.write_text("not a checkpoint")
    assert "policy.safetensors" in complaint(capsys, "ppo", "--resume", str(path))


def test_saving_to_a_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--preset", "mnist1d_blind", "--device", "cpu", "--save", str(tmp_path))
    assert str(tmp_path) in complaint(capsys, "ppo", *arguments)
