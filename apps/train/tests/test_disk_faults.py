"""A disk that gets full, or is read-only, during a run and when it is resumed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from esper_karn import EventReader, Liveness, peek
from esper_leyline import RoundSummary, RunStatus, RunSummary
from esper_leyline.run_lock import RunOwner
from esper_train import main
from esper_train import ppo_run as ppo_module
from esper_train.checkpoints.files import load_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A file system of 4 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk: Path) -> Path:
    """Fills a disk to its last byte; returns the file that does it."""
    path = disk / "filler"
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return path


def make_read_only(disk: Path, *, read_only: bool) -> None:
    option = "remount,ro" if read_only else "remount,rw"
    subprocess.run(["mount", "-o", option, str(disk)], check=True)


def contents(run: Path) -> dict[str, object]:
    """All files of a run, and the process of its lock; a resume notes when it took the lock."""
    found = {str(each.relative_to(run)): each.read_bytes() for each in run.rglob("*.*")}
    owner = RunOwner.model_validate_json(found.pop("run.lock"))
    return {**found, "owner": owner.model_copy(update={"started": None, "uptime": None})}


def refuses_to_resume(run: Path, reason: str, capfd) -> None:
    """One line and exit code 2, before anything of the run is changed."""
    before = contents(run)
    assert main(["ppo", "--resume", str(run), "--no-tui"]) == 2
    said = capfd.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert reason in said
    assert contents(run) == before


def numbers(summary: RunSummary) -> list[RoundSummary]:
    return [each.model_copy(update={"seconds": 0.0}) for each in summary.rounds]


def test_a_disk_that_gets_full_loses_no_checkpoint_and_the_run_goes_on_when_there_is_room(
    disk, small, ppo_run, monkeypatch, capfd
):
    """Full after its first checkpoint, full again on resume, then read-only, then usable."""
    save = ppo_module.save_checkpoint

    def save_and_fill(path, manifest, state) -> None:
        save(path, manifest, state)
        fill(disk)

    with monkeypatch.context() as filling:
        filling.setattr(ppo_module, "save_checkpoint", save_and_fill)
        arguments = ("ppo", *small, "--rounds", "2", "--checkpoint-every", "1", "--no-tui")
        assert main([*arguments, "--runs", str(disk / "runs")]) == 1
    said = capfd.readouterr()
    assert said.err.count("error: cannot write checkpoint") == 1
    assert "No space left on device" in said.err
    assert "Traceback" not in said.err
    (run,) = (disk / "runs").iterdir()
    assert f"--resume {run}" in said.out
    first = run / "checkpoints" / "round-00001.safetensors"
    kept = first.read_bytes()

    refuses_to_resume(run, "No space left on device", capfd)
    assert first.read_bytes() == kept
    make_read_only(disk, read_only=True)
    refuses_to_resume(run, "Read-only file system", capfd)
    make_read_only(disk, read_only=False)

    # Room for the log, and none for a checkpoint.
    os.truncate(disk / "filler", (disk / "filler").stat().st_size - 40_000)
    assert main(["ppo", "--resume", str(run), "--no-tui"]) == 1
    said = capfd.readouterr()
    assert said.err.count("error: cannot write checkpoint") == 1
    assert "Traceback" not in said.err
    assert first.read_bytes() == kept
    assert [each.name for each in first.parent.iterdir()] == [first.name]
    assert peek(run).liveness(0.0) in {Liveness.CRASHED, Liveness.ENDED}

    (disk / "filler").unlink()
    assert main(["ppo", "--resume", str(run), "--no-tui"]) == 0
    summary = RunSummary.model_validate_json((run / "summary.json").read_text())
    assert summary.status is RunStatus.COMPLETED
    assert numbers(summary) == numbers(ppo_run.summary)
    assert summary.mean_test_accuracy == ppo_run.summary.mean_test_accuracy
    load_checkpoint(run / str(summary.checkpoint))
    assert not list(run.rglob("*.partial"))
    with EventReader(run / "events.jsonl") as reader:
        sequences = [each.sequence for each in reader.read()]
    assert sequences == sorted(sequences)
