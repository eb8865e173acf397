"""Runs that are killed and go on in their own directory equal a run that was never interrupted."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from esper_karn import EventReader, Liveness, peek
from esper_leyline import RunStatus, RunSummary, override, read_config
from esper_nissa import RunLock
from esper_train import main
from esper_train.checkpoints.files import load_checkpoint
from esper_train.checkpoints.trees import split_tensors

ROUNDS = 6
SIZES = ("--rounds", str(ROUNDS), "--checkpoint-every", "2")


def policy_of(run: Path) -> dict[str, bytes]:
    """Returns every tensor and number of the last checkpoint, except times."""
    path = max((run / "checkpoints").glob("*.safetensors"))
    _, state = load_checkpoint(path)
    tree, tensors = split_tensors(state)
    for each in tree["rounds"]:
        each["seconds"] = 0.0
    found = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    return {**found, "numbers": json.dumps(tree).encode()}


def check_log(run: Path) -> list[int]:
    """Checks the sequence of a log, and returns its boots."""
    with EventReader(run / "events.jsonl") as reader:
        events = list(reader.read())
    assert [event.sequence for event in events] == list(range(len(events)))
    assert events[-1].kind == "run_completed"
    return sorted({event.boot for event in events})


def kill_after(arguments: list[str], folder: Path, seconds: float) -> bool:
    """Starts a command and kills it with SIGKILL; returns whether it was still running."""
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=folder,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True
    assert process.returncode == 0
    return False


def finish(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(
        arguments, check=False, capture_output=True, text=True, timeout=600, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def whole(run, sharded, tmp_path_factory):
    """The run that nothing interrupts, and how long it took."""
    started = time.monotonic()
    done = run(tmp_path_factory.mktemp("whole"), "ppo", *sharded, *SIZES)
    return done, time.monotonic() - started


def check_killed_runs(kills: int, whole, command, sharded, folder: Path) -> None:
    """Kills one run after another at random moments, and lets each go on until it is complete."""
    (expected, seconds), moments = whole, random.Random(kills)
    for number in range(kills):
        runs = folder / f"{number}"
        runs.mkdir()
        first = command("ppo", *sharded, *SIZES, "--runs", "runs")
        killed = kill_after(first, runs, moments.uniform(0.3, seconds))
        begun = [each.parent for each in runs.glob("runs/*/run.lock")]
        if not begun:  # killed before it was a run that can be resumed
            finish(first, runs)
        # A kill between the summary and the process's exit leaves a run that is complete.
        elif killed and not (begun[0] / "summary.json").exists():
            (path,) = begun
            assert peek(path).liveness(time.time()) in {Liveness.CRASHED, Liveness.ENDED}
            again = command("ppo", "--resume", str(path.relative_to(runs)))
            kill_after(again, runs, moments.uniform(0.3, seconds))
            summary = path / "summary.json"
            if not summary.exists():
                finish(command("ppo", "--resume", "latest"), runs)
        (path,) = [each.parent for each in runs.glob("runs/*/summary.json")]
        summary = RunSummary.model_validate_json((path / "summary.json").read_text())
        assert summary.status is RunStatus.COMPLETED
        check_log(path)
        rounds = [each.model_copy(update={"seconds": 0.0}) for each in summary.rounds]
        assert [json.loads(each.model_dump_json()) for each in rounds] == expected.results
        assert policy_of(path) == policy_of(expected.directory)
        assert summary.mean_test_accuracy == expected.summary.mean_test_accuracy
        assert not list(path.rglob("*.partial"))


@pytest.mark.slow
def test_runs_killed_at_random_moments_go_on_bit_for_bit(whole, command, sharded, tmp_path):
    check_killed_runs(3, whole, command, sharded, tmp_path)


@pytest.mark.nightly
def test_thirty_runs_killed_at_random_moments_go_on_bit_for_bit(whole, command, sharded, tmp_path):
    check_killed_runs(30, whole, command, sharded, tmp_path)


@pytest.fixture(scope="module")
def stopped(interrupt, command, small, tmp_path_factory) -> Path:
    """A run that Ctrl-C has ended after a round."""
    folder = tmp_path_factory.mktemp("stopped")
    endless = command("ppo", *small, "--rounds", "500", "--runs", str(folder))
    output = interrupt(endless, "round   1/")
    (path,) = folder.iterdir()
    assert f"resume with: cd {Path.cwd()} && uv run esper-train ppo --resume {path}" in output
    return path


@pytest.fixture
def half(stopped, tmp_path) -> Path:
    """A copy of that run, under the same name."""
    path = tmp_path / "runs" / stopped.name
    shutil.copytree(stopped, path)
    return path


def resume(path: Path, *more: str) -> int:
    done = len(list_rounds(path))
    return main(["ppo", "--resume", str(path), "--rounds", str(done + 1), "--no-tui", *more])


def list_rounds(path: Path):
    run = path if path.is_dir() else path.parent.parent
    return RunSummary.model_validate_json((run / "summary.json").read_text()).rounds


def test_a_run_goes_on_in_its_directory_under_a_new_boot(half, capfd):
    before = list_rounds(half)
    newest = max((half / "checkpoints").glob("*.safetensors"))
    assert resume(half) == 0
    number = "1 round" if len(before) == 1 else f"{len(before)} rounds"
    assert f"resumed after {number}, from checkpoints/{newest.name}\n" in capfd.readouterr().out
    assert list_rounds(half)[: len(before)] == before
    assert len(list_rounds(half)) == len(before) + 1
    assert check_log(half) == [0, 1]
    assert [path.name for path in half.parent.iterdir()] == [half.name]
    assert json.loads((half / "config.json").read_text())["n_episodes"] == len(before) + 1


@pytest.mark.slow
def test_a_resumed_run_counts_the_time_of_all_its_processes(half):
    assert resume(half) == 0
    with EventReader(half / "events.jsonl") as reader:
        events = list(reader.read())
    summary = RunSummary.model_validate_json((half / "summary.json").read_text())
    ends = {event.boot: event for event in events}  # the last event of each process
    worked = sum(event.monotonic for event in ends.values())
    assert len(ends) == 2
    assert worked <= summary.seconds < worked + 60
    assert summary.seconds == pytest.approx(events[-1].payload.seconds, rel=1e-4)
    assert summary.started == events[0].wall_time
    assert ends[0].wall_time < ends[1].wall_time <= summary.ended
    assert peek(half).last_event == summary.ended


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_an_older_one_taken(half, capfd):
    newest = max((half / "checkpoints").glob("*.safetensors"))
    manifest, _ = load_checkpoint(newest)
    later = newest.with_name(f"round-{manifest.rounds_completed + 1:05d}.safetensors")
    later.write_bytes(newest.read_bytes()[:-3])
    assert resume(half) == 0
    said = capfd.readouterr().out
    assert f"checkpoint '{later}' is damaged" in said
    assert "an older one is taken" in said
    assert later.with_name(f"{later.name}.damaged").exists()


def test_a_trained_run_is_not_resumed(half, capsys):
    lock = RunLock(half, "ppo")
    before = sorted(path.name for path in half.rglob("*"))
    assert resume(half) == 2
    assert "is being trained by process" in capsys.readouterr().err
    assert sorted(path.name for path in half.rglob("*")) == before
    lock.release()


@pytest.mark.slow
def test_an_older_checkpoint_and_one_elsewhere_start_a_new_directory(half, tmp_path, capfd):
    newest = max((half / "checkpoints").glob("*.safetensors"))
    elsewhere = tmp_path / "policy.safetensors"
    shutil.copy(newest, elsewhere)
    done, runs = len(list_rounds(half)), tmp_path / "others"
    shutil.copy(newest, newest.with_name("round-99999.safetensors"))
    for path, said in ((elsewhere, ""), (newest, "is not the newest of its run")):
        more = ("--rounds", str(done + 1), "--runs", str(runs), "--no-tui")
        assert main(["ppo", "--resume", str(path), *more]) == 0
        assert said in capfd.readouterr().out
    assert len(list(runs.iterdir())) == 2
    assert len(list_rounds(half)) == done


@pytest.mark.slow
def test_a_run_without_a_checkpoint_starts_again_at_its_first_round(half, capfd):
    shutil.rmtree(half / "checkpoints")
    (half / "checkpoints").mkdir()
    (half / "summary.json").unlink()
    assert main(["ppo", "--resume", str(half), "--rounds", "1", "--no-tui"]) == 0
    assert "has no checkpoint; it starts again at round 1" in capfd.readouterr().out
    assert len(list_rounds(half)) == 1
    assert check_log(half) == [0, 1]


@pytest.mark.slow
def test_settings_of_a_resumed_run_that_was_killed_before_a_checkpoint_are_kept(half):
    """``config.json`` has them; the checkpoint has those of the process before."""
    done = len(list_rounds(half))
    before = read_config(half / "config.json")
    changed = override(before, {"n_episodes": done + 1, "ppo": {"learning_rate": 1e-4}})
    (half / "config.json").write_text(changed.model_dump_json())
    (half / "summary.json").unlink()
    assert main(["ppo", "--resume", str(half), "--no-tui"]) == 0
    assert len(list_rounds(half)) == done + 1
    assert read_config(half / "config.json") == changed
    newest = max((half / "checkpoints").glob("*.safetensors"))
    assert load_checkpoint(newest)[0].config == changed


def test_a_config_that_was_edited_beyond_what_may_change_is_one_line(half, capsys):
    before = read_config(half / "config.json")
    changed = override(before, {"policy": {"memory_size": 8}})
    (half / "config.json").write_text(changed.model_dump_json())
    assert resume(half) == 2
    said = capsys.readouterr().err
    assert "policy.memory_size 8, and the checkpoint of the run 16, which cannot change" in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_a_run_killed_after_its_last_round_repeats_it_and_ends(ppo_run, tmp_path, capfd):
    path = tmp_path / ppo_run.directory.name
    shutil.copytree(ppo_run.directory, path)
    (path / "summary.json").unlink()
    assert main(["ppo", "--resume", str(path), "--no-tui"]) == 0
    assert "did not reach its end: its last rounds are repeated" in capfd.readouterr().out
    summary = RunSummary.model_validate_json((path / "summary.json").read_text())
    assert summary.mean_test_accuracy == ppo_run.summary.mean_test_accuracy
    assert summary.status is RunStatus.COMPLETED
    assert policy_of(path) == policy_of(ppo_run.directory)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{}", "--telemetry-dir", "logs"), "--telemetry-dir logs does not go with --resume"),
        (
            ("latest", "--runs", "nowhere"),
            "--resume latest: no run of esper-train ppo in 'nowhere'",
        ),
        (("{}/checkpoints",), "is not a run directory"),
        (("{}", "--rounds", "1"), "give --rounds more than"),
        (("{}", "--seed", "7"), "--seed cannot change with --resume"),
    ],
)
def test_a_run_that_cannot_be_resumed_is_one_line(arguments, said, half, capsys):
    log = (half / "events.jsonl").read_bytes()
    words = [each.format(half) for each in arguments]
    assert main(["ppo", "--resume", *words]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert (half / "events.jsonl").read_bytes() == log
    assert (half / "summary.json").exists()


@pytest.mark.slow
def test_a_copy_under_another_name_starts_a_new_directory(half, tmp_path, capfd):
    other = half.rename(half.with_name("renamed"))
    assert resume(other, "--runs", str(tmp_path / "new")) == 0
    assert "it is a copy, or was renamed" in capfd.readouterr().out
    assert len(list((tmp_path / "new").iterdir())) == 1
