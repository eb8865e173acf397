"""``esper-overwatch tui`` without what it needs: one line, exit code 2."""

from __future__ import annotations

import pytest

from esper_overwatch.cli import main


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["tui", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_it_needs_a_terminal(capsys) -> None:
    assert "needs a terminal: standard " in refused(capsys)


def test_a_run_that_does_not_exist_is_named(tmp_path, capsys) -> None:
    assert "'missing' is no run" in refused(capsys, "missing")


def test_a_folder_without_runs_is_named(tmp_path, capsys) -> None:
    assert f"no runs in '{tmp_path}'" in refused(capsys, str(tmp_path))


def test_a_missing_library_is_one_line(capsys, monkeypatch) -> None:
    monkeypatch.setattr("esper_leyline.extras.is_installed", lambda library: False)
    assert "uv sync --extra tui" in refused(capsys)
