"""A run whose updates are skipped says a command that resumes it, and that command does."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch

from esper_karn import EventReader
from esper_leyline import RunStatus, RunSummary, read_config
from esper_simic._torch import Adam
from esper_train import main


def steps_that_overflow(optimizer: Adam) -> None:
    with torch.no_grad():
        for parameter in optimizer._parameters:
            parameter.mul_(1e30)


def newest(folder: Path, known: set[Path]) -> Path:
    (directory,) = set(folder.iterdir()) - known
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [3, 5])
def test_the_advice_can_be_followed(
    rounds: int,
    small: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Adam, "step", steps_that_overflow)
        flags = ("--rounds", str(rounds), "--runs", str(tmp_path))
        assert main(["ppo", *small, *flags]) == 1
    captured = capsys.readouterr()
    assert "3 updates in a row were skipped" in captured.err
    assert "lower ppo.learning_rate" in captured.err
    failed = newest(tmp_path, set())
    summary = RunSummary.model_validate_json((failed / "summary.json").read_text())
    assert summary.status is RunStatus.FAILED
    assert f"resume with: {summary.resume}" in captured.out
    words = shlex.split(str(summary.resume))
    assert words[:3] == ["cd", str(Path.cwd()), "&&"]
    assert words[3:8] == ["uv", "run", "esper-train", "ppo", "--resume"]

    before = read_config(failed / "config.json").ppo.learning_rate
    assert main(words[6:]) == 0
    assert f"ppo.learning_rate: {before} in the checkpoint" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [failed]
    assert read_config(failed / "config.json").ppo.learning_rate == pytest.approx(before / 10)
    with EventReader(failed / "events.jsonl") as reader:
        updates = [e for e in reader.read() if e.kind == "ppo_update" and e.boot == 1]
    assert [each.round for each in updates] == list(range(4, (6 if rounds == 3 else rounds) + 1))
    for update in (each.payload for each in updates):
        assert update.skipped is None
        assert update.learning_rate == pytest.approx(before / 10)
