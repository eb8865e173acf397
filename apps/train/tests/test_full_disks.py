"""Whole runs on full disks and under limits of file sizes: what they keep, and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from esper_train.checkpoints.files import load_checkpoint

PROGRAM = Path(sys.executable).with_name("esper-train")
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
RUN = (
    "ppo --preset mnist1d_blind --device cpu --no-tui --envs 2 --memory-size 16 --workers 1 "
    "--checkpoint-every 1"
)
SHORT = f"{RUN} --episode-length 4"


def bash(line, folder):
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )


def on_a_small_disk(size, command, folder):
    """Runs a command beside a file system ``disk`` of some size, and copies it to ``kept``."""
    namespace = _namespace(folder)
    (folder / "disk").mkdir()
    (folder / "kept").mkdir()
    mount = f"mount -t tmpfs -o size={size} tmpfs disk"
    line = f"{mount} && {{ {command}; code=$?; cp -a disk/. kept; exit $code; }}"
    return bash(f"{namespace} bash -c '{line}'", folder)


def _namespace(folder):
    for words in ("unshare -Urm", "unshare -m"):
        if bash(f"{words} mount -t tmpfs tmpfs .", folder).returncode == 0:
            return words
    pytest.skip("mounting a small file system is not permitted here, nor in a namespace")
    return None


def finished_run(folder):
    """Returns the summary of the only run in a folder, and the run's own folder."""
    (run,) = folder.iterdir()
    assert not list(folder.rglob("*.partial"))
    return json.loads((run / "summary.json").read_text(encoding="utf-8")), run


@pytest.mark.slow
def test_a_file_size_limit_stops_the_log_but_not_the_run(tmp_path):
    """The limit is above a checkpoint of these sizes, and below the log."""
    more = "--rounds 2 --episode-length 40 --telemetry-level debug"
    done = bash(f"ulimit -f 320; '{PROGRAM}' {RUN} {more}", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("File too large") == done.stderr.count("\n") == 1
    summary, run = finished_run(tmp_path / "runs")
    assert summary["status"] == "completed"
    assert summary["telemetry_lost"]["events"] > 0
    assert f"telemetry: {summary['telemetry_lost']['events']:,} events are missing" in done.stdout
    load_checkpoint(run / summary["checkpoint"])


@pytest.mark.slow
def test_a_file_size_limit_below_a_checkpoint_is_reported(tmp_path):
    done = bash(f"ulimit -f 40; '{PROGRAM}' {SHORT} --rounds 2 --telemetry-level off", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("cannot write checkpoint") == 1
    assert "File too large" in done.stderr
    assert "is lost: there is no checkpoint" in done.stdout
    summary, _ = finished_run(tmp_path / "runs")
    assert (summary["status"], summary["checkpoint"]) == ("failed", None)


@pytest.mark.slow
@pytest.mark.parametrize("save", [False, True])
def test_a_full_disk_of_runs_keeps_the_last_checkpoint_and_says_which(save, tmp_path):
    """There is room for one checkpoint and the log, and not for a second one."""
    more = "--rounds 3 --runs disk" + " --save policy.safetensors" * save
    done = on_a_small_disk("448k", f"{PROGRAM} {SHORT} {more}", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("cannot write checkpoint") == 1
    summary, run = finished_run(tmp_path / "kept")
    assert summary["status"] == "failed"
    assert summary["checkpoint"] == "checkpoints/round-00001.safetensors"
    load_checkpoint(run / summary["checkpoint"])
    assert f"last checkpoint: disk/{run.name}/checkpoints/round-00001.safetensors" in done.stdout
    if save:
        manifest, _ = load_checkpoint(tmp_path / "policy.safetensors")
        assert manifest.rounds_completed == 2
        assert "checkpoint of 2 rounds saved to policy.safetensors" in done.stdout
    else:
        assert "learned in 2 rounds is lost: the last checkpoint holds 1" in done.stdout


@pytest.mark.slow
def test_save_on_a_full_disk_names_the_checkpoint_that_is_there(tmp_path):
    done = on_a_small_disk(
        "16k", f"{PROGRAM} {SHORT} --rounds 1 --save disk/policy.safetensors", tmp_path
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot write --save disk/policy.safetensors: No space left on device" in done.stderr
    summary, run = finished_run(tmp_path / "runs")
    assert summary["status"] == "failed"
    assert summary["checkpoint"] == "checkpoints/round-00001.safetensors"
    assert f"the same checkpoint is '{run.relative_to(tmp_path)}" in done.stderr
    load_checkpoint(run / summary["checkpoint"])
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("what", ["read-only", "full"])
def test_an_unwritable_disk_is_one_line_before_the_run(what, tmp_path):
    """Nothing of the run can be created there, so it is a mistake in what was asked."""
    full = "dd if=/dev/zero of=disk/rest bs=4k 2> rest" if what == "full" else "true"
    option = "mount -o remount,ro disk" if what == "read-only" else "true"
    line = f"{full}; {option} && {PROGRAM} {SHORT} --rounds 1 --runs disk"
    done = on_a_small_disk("16k", line, tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    reason = "Read-only file system" if what == "read-only" else "No space left on device"
    assert reason in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not [path for path in (tmp_path / "kept").iterdir() if path.is_dir()]
