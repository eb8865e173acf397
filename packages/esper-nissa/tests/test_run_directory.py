"""The run directory: its layout, a redirected log, and everything that can fail."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

import pytest

from esper_leyline import RunSummary, TrainingConfig, read_config
from esper_nissa import NissaError, RunDirectory, create_folder


def summary(run_id, error=None):
    return RunSummary(
        run_id=run_id,
        command="ppo",
        task="mnist1d",
        status="failed",
        error=error,
        started=1.7e9,
        seconds=float("inf"),
        rounds=(),
        host_parameters=800,
    )


def test_the_layout_of_a_new_run(tmp_path):
    run = RunDirectory.create(tmp_path / "runs", "mnist1d")
    assert re.fullmatch(r"\d{8}-\d{6}-mnist1d-[0-9a-f]{8}", run.run_id)
    assert run.path == tmp_path / "runs" / run.run_id
    assert run.checkpoints.is_dir()
    assert run.events == run.path / "events.jsonl"
    assert run.events.read_bytes() == b""
    assert sorted(path.name for path in run.path.iterdir()) == ["checkpoints", "events.jsonl"]


def test_runs_of_the_same_second_have_different_ids(tmp_path):
    ids = {RunDirectory.create(tmp_path, "mnist1d").run_id for _ in range(50)}
    assert len(ids) == 50


def test_a_folder_of_several_runs_is_named_like_a_run(tmp_path):
    folders = [create_folder(tmp_path / "runs", "mnist1d-a-vs-b") for _ in range(2)]
    assert sorted((tmp_path / "runs").iterdir()) == sorted(folders)
    for folder in folders:
        assert re.fullmatch(r"\d{8}-\d{6}-mnist1d-a-vs-b-[0-9a-f]{8}", folder.name)
        assert list(folder.iterdir()) == []


def test_the_written_config_can_be_read_again(tmp_path):
    run = RunDirectory.create(tmp_path, "mnist1d")
    config = TrainingConfig(task="mnist1d")
    run.write_config(config)
    assert read_config(run.config) == config
    assert RunDirectory.open(run.path) == run


def test_the_summary_is_replaced_atomically(tmp_path):
    run = RunDirectory.create(tmp_path, "mnist1d")
    run.write_summary(summary(run.run_id))
    run.write_summary(summary(run.run_id, error="out of memory"))
    again = RunSummary.model_validate_json(run.summary.read_bytes())
    assert again == summary(run.run_id, error="out of memory")
    assert not list(run.path.glob("*.partial"))


def test_a_failed_write_leaves_the_old_summary(tmp_path, monkeypatch):
    run = RunDirectory.create(tmp_path, "mnist1d")
    run.write_summary(summary(run.run_id))

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("esper_leyline.files.atomic.os.fsync", full)
    with pytest.raises(NissaError, match=r"summary.json': No space left on device; free space"):
        run.write_summary(summary(run.run_id, error="later"))
    assert RunSummary.model_validate_json(run.summary.read_bytes()).error is None


def test_the_log_can_go_to_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunDirectory.create(Path("runs"), "mnist1d", telemetry_file=Path("logs/mine.jsonl"))
    run.write_config(TrainingConfig(task="mnist1d"))
    assert run.events == tmp_path / "logs" / "mine.jsonl"
    assert run.events.exists()
    assert not (run.path / "events.jsonl").exists()
    monkeypatch.chdir("/")
    assert RunDirectory.open(tmp_path / run.path).events == tmp_path / "logs" / "mine.jsonl"


def test_the_log_can_go_to_a_timestamped_folder(tmp_path):
    run = RunDirectory.create(tmp_path / "runs", "mnist1d", telemetry_dir=tmp_path / "logs")
    run.write_config(TrainingConfig(task="mnist1d"))
    assert run.events == tmp_path / "logs" / run.run_id / "events.jsonl"
    assert RunDirectory.open(run.path).events == run.events


@pytest.mark.parametrize("moved", [False, True])
def test_a_deleted_folder_is_restored_with_the_pointer_to_its_log(tmp_path, moved):
    log = tmp_path / "log.jsonl" if moved else None
    run = RunDirectory.create(tmp_path / "runs", "mnist1d", telemetry_file=log)
    run.write_config(TrainingConfig(task="mnist1d"))
    assert run.restore(TrainingConfig(task="mnist1d")) == ()
    run.discard()
    names = ("config.json", "events.path") if moved else ("config.json",)
    assert run.restore(TrainingConfig(task="mnist1d")) == names
    assert RunDirectory.open(run.path) == run
    assert run.checkpoints.is_dir()


def test_telemetry_file_and_folder_are_mutually_exclusive(tmp_path):
    with pytest.raises(NissaError, match="give one of them"):
        RunDirectory.create(
            tmp_path, "mnist1d", telemetry_file=tmp_path / "a", telemetry_dir=tmp_path
        )
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_a_file_is_one_line(tmp_path):
    root = tmp_path / "runs"
    root.write_text("not a folder")
    with pytest.raises(NissaError) as caught:
        RunDirectory.create(root, "mnist1d")
    message = str(caught.value)
    assert message.startswith(f"cannot create a folder in '{root}', which is a file; ")
    assert "name a folder" in message
    assert "\n" not in message


def test_a_root_that_cannot_be_written_is_one_line():
    with pytest.raises(NissaError, match=r"cannot create a folder in '/proc/runs': "):
        RunDirectory.create(Path("/proc/runs"), "mnist1d")


@pytest.mark.parametrize("used", ["full.jsonl", "file/events.jsonl"])
def test_a_telemetry_file_that_is_in_use_leaves_no_run_behind(tmp_path, used):
    (tmp_path / "full.jsonl").write_text("{}\n")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NissaError, match=re.escape(str(tmp_path / used))):
        RunDirectory.create(tmp_path / "runs", "mnist1d", telemetry_file=tmp_path / used)
    assert not (tmp_path / "runs").exists()
    assert (tmp_path / "full.jsonl").read_text() == "{}\n"


@pytest.mark.parametrize("task", ["", "../up", "a b", "x/y"])
def test_a_task_name_that_is_no_folder_name_is_refused(tmp_path, task):
    with pytest.raises(NissaError, match="cannot be part of a folder's name"):
        RunDirectory.create(tmp_path, task)


@pytest.mark.parametrize("name", [".", "checkpoints/..", "../link"])
def test_a_run_has_its_id_by_whatever_path_it_is_opened(tmp_path, monkeypatch, name):
    run = RunDirectory.create(tmp_path, "mnist1d")
    run.write_config(TrainingConfig(task="mnist1d"))
    (tmp_path / "link").symlink_to(run.path.name)
    monkeypatch.chdir(run.path)
    assert RunDirectory.open(Path(name)).run_id == run.run_id


def test_a_folder_that_is_no_run_is_not_opened(tmp_path):
    with pytest.raises(NissaError, match=r"is not a run directory: it holds no config.json"):
        RunDirectory.open(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "is a named pipe; name a regular file"),
        (b"a" * 70_000, "has more than 65,536 bytes"),
        (b"a\0b", "holds no path of a log"),
    ],
)
def test_a_pointer_that_cannot_be_read_is_refused_at_once(tmp_path, content, reason):
    run = RunDirectory.create(tmp_path, "mnist1d")
    run.write_config(TrainingConfig(task="mnist1d"))
    pointer = run.path / "events.path"
    if content is None:
        os.mkfifo(pointer)
    else:
        pointer.write_bytes(content)
    with pytest.raises(NissaError, match=reason):
        RunDirectory.open(run.path)


def test_a_pointer_need_not_be_text(tmp_path):
    run = RunDirectory.create(tmp_path, "mnist1d")
    run.write_config(TrainingConfig(task="mnist1d"))
    (run.path / "events.path").write_bytes(b"/logs/\xff.jsonl\n")
    assert RunDirectory.open(run.path).events == Path(os.fsdecode(b"/logs/\xff.jsonl"))


def test_a_summary_that_does_not_fit_leaves_nothing_behind(tmp_path):
    """A limit on file sizes stands for a full disk."""
    run = RunDirectory.create(tmp_path, "mnist1d")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(NissaError, match=r"cannot write .*summary.json': File too large"):
            run.write_summary(summary(run.run_id))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in run.path.iterdir()) == ["checkpoints", "events.jsonl"]
