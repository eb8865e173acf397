"""The flags of Weights & Biases are checked before anything is created."""

from __future__ import annotations

from pathlib import Path

import pytest

from esper_train import main


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--wandb", "--telemetry-level", "off"], "--telemetry-level off writes none"),
        (["--wandb-project", "x"], "--wandb-project says how --wandb works"),
        (["--wandb", "--wandb-project", "a/b"], "--wandb-project 'a/b'"),
    ],
)
def test_a_mistake_is_one_line_and_creates_nothing(
    flags: list[str], message: str, small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ppo", *small, *flags, "--runs", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_without_the_library_one_line_names_the_command_that_installs_it(
    small, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esper_leyline.extras.is_installed", lambda library: False)
    assert main(["ppo", *small, "--wandb", "--runs", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert error.endswith("uv sync --extra wandb\n")
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
