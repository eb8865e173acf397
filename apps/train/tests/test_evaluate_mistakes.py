"""Mistakes in what ``esper-train evaluate`` was asked: one line, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from esper_tolaria import find_preset
from esper_train import main
from esper_train.checkpoints.files import save_checkpoint
from esper_train.errors import TrainError
from esper_train.evaluation.arms import CheckpointArm
from esper_train.evaluation.plan import _check_fit

MISTAKES = {
    "unknown arm": (["--arms", "heuristc"], ["'heuristc'", "did you mean 'heuristic'", "static"]),
    "arm twice": (["--arms", "static", "random", "static"], ["'static'", "2 times"]),
    "arm twice under two labels": (["--arms", "a=static", "b=static"], ["'static'", "2 times"]),
    "label twice": (["--arms", "a=static", "a=random"], ["label 'a'", "2 times"]),
    "label that is another arm's name": (
        ["--arms", "static", "static=random"],
        ["label 'static'", "2 times"],
    ),
    "label of an unknown arm": (["--arms", "a=heuristc"], ["'heuristc'", "'heuristic'"]),
    "baseline that no label names": (
        ["--arms", "a=static", "random", "--baseline", "b"],
        ["--baseline", "'b'", "a, random"],
    ),
    "one seed": (["--seeds", "1"], ["--seeds", "1", "at least 2"]),
    "no seeds": (["--seeds", "0"], ["--seeds is 0", "at least 2", "verdict takes 12"]),
    "negative seeds": (["--seeds", "-3"], ["--seeds is -3", "at least 2"]),
    "seeds without end": (["--seeds", "1000000000"], ["--seeds is 1000000000", "at most 10000"]),
    "seeds in words": (["--seeds", "many"], ["--seeds", "many"]),
    "unknown range": (["--range", "tests"], ["tests", "tuning", "reporting"]),
    "beyond the range": (
        ["--first-seed", "1073741820", "--seeds", "12"],
        ["--first-seed is 1073741820", "at most 1073741812", "'tuning'"],
    ),
    "no hosts": (["--envs", "0"], ["--envs", "greater than or equal to 1", "0"]),
    "no epochs": (["--max-epochs", "0"], ["--max-epochs", "greater than or equal to 1", "0"]),
    "fewer than no batches": (["--max-batches", "-1"], ["--max-batches", "equal to 0", "-1"]),
    "no such seed": (["--first-seed", "-1"], ["--first-seed is -1", "at least 0"]),
    "unknown task": (["--task", "mnist"], ["'mnist'", "mnist1d_blind"]),
    "unknown policy": (["--policy", "best"], ["best", "sampled", "greedy"]),
    "baseline that is no arm": (
        ["--arms", "static", "random", "--baseline", "heuristic"],
        ["--baseline", "'heuristic'", "static, random"],
    ),
    "device that is not here": (["--device", "cuda:77"], ["cuda:77", "cpu"]),
    "missing checkpoint": (
        ["--arms", "static", "nowhere.safetensors"],
        ["nowhere.safetensors", "No such file"],
    ),
    "unknown setting": (["--arms", "schedule:evry=3"], ["'evry'", "did you mean 'every'"]),
    "no number of epochs": (["--arms", "schedule:every=often"], ["'every'", "'often'", "every=5"]),
    "no whole number of epochs": (["--arms", "schedule:every=1.5"], ["'every'", "'1.5'"]),
    "too many epochs": (["--arms", "schedule:every=99999"], ["'every'", "99999", "at most 10000"]),
    "a setting twice": (["--arms", "schedule:every=3,every=4"], ["'every'", "twice"]),
    "no epochs between": (["--arms", "schedule:every=0"], ["'every'", "0", "at least 1"]),
    "unknown blueprint": (["--arms", "schedule:blueprint=conv"], ["'conv'", "conv_small"]),
    "nothing to copy": (["--arms", "scratch"], ["'scratch'", "static heuristic scratch"]),
    "nothing grown to copy": (["--arms", "static", "scratch"], ["'scratch'", "an arm that grows"]),
    "nothing to pay for": (
        ["--arms", "scratch-flops"],
        ["'scratch-flops'", "heuristic scratch-flops"],
    ),
    "nearly an arm": (["--arms", "scratch-flop"], ["did you mean 'scratch-flops'"]),
    "budget of no arm": (
        ["--arms", "random", "scratch-flops:static"],
        ["'scratch-flops:static'", "'static'", "allowed: random"],
    ),
    "copy of no arm": (
        ["--arms", "random", "scratch:heuristic"],
        ["'scratch:heuristic'", "'heuristic'", "allowed: random"],
    ),
    "blueprint that the task lacks": (
        ["--arms", "schedule:blueprint=lora", "--envs", "1", "--task", "mnist1d_blind"],
        ["lora", "conv_small"],
    ),
}


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["evaluate", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("name", MISTAKES)
def test_the_mistake_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, parts = MISTAKES[name]
    out = tmp_path / "out"
    device = [] if "--device" in arguments else ["--device", "cpu"]
    message = complaint(capsys, *arguments, *device, "--out", str(out))
    for part in parts:
        assert part in message
    assert not out.exists()


@pytest.fixture
def made(tmp_path: Path, sound_checkpoint, small_config):
    """Writes checkpoints by configuration, from which runs could continue."""

    def make(
        name: str,
        task: str = "mnist1d_blind",
        slots: tuple[str, ...] = ("r0c0", "r0c1", "r0c2"),
        **changes: object,
    ) -> str:
        path = tmp_path / f"{name}.safetensors"
        config = small_config(task, slots=slots, **changes)
        save_checkpoint(path, *sound_checkpoint(config, slots=slots))
        return str(path)

    return make


def test_a_checkpoint_of_another_task_is_refused(made, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = made("first")
    message = complaint(capsys, "--arms", "static", checkpoint, "--task", "digits")
    for part in (checkpoint, "'mnist1d_blind' with hosts cnn", "'digits' has hosts mlp"):
        assert part in message
    other = made("other", slots=("r0c0", "r0c1"), task="digits")
    message = complaint(capsys, "--arms", checkpoint, other)
    for part in (other, "'digits'", "'mnist1d_blind'", "--task"):
        assert part in message


def test_a_checkpoint_on_a_task_with_more_slots_is_refused(sound_checkpoint, small_config) -> None:
    arm = CheckpointArm("f.safetensors", "f", *sound_checkpoint(small_config()))
    expected = (
        r"'f\.safetensors' was trained on task 'mnist1d_blind' with number of slots 3, "
        r"task 'cifar10_deep' has number of slots 5"
    )
    with pytest.raises(TrainError, match=expected):
        _check_fit(arm, find_preset("cifar10_deep"))


def test_checkpoints_with_different_hosts_are_refused(
    made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, fewer = made("first"), made("fewer", max_seeds=1)
    message = complaint(capsys, "--arms", checkpoint, fewer)
    for part in (checkpoint, fewer, "'max_seeds'"):
        assert part in message
    # What a flag settles for both is no difference.
    longer = made("longer", max_epochs=40)
    assert "'max_epochs'" in complaint(capsys, "--arms", checkpoint, longer)
    settled = ("--max-epochs", "1", "--max-batches", "1", "--seeds", "2", "--envs", "1")
    out = ("--out", str(tmp_path / "out"), "--device", "cpu")
    assert main(["evaluate", "--arms", checkpoint, longer, *settled, *out]) == 0


def test_a_run_directory_is_not_a_checkpoint(ppo_run, capsys: pytest.CaptureFixture[str]) -> None:
    message = complaint(capsys, "--arms", str(ppo_run.directory))
    assert str(ppo_run.directory / str(ppo_run.summary.checkpoint)) in message


def test_an_unwritable_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    for folder in (blocked, blocked / "out", Path("/proc/out")):
        message = complaint(capsys, "--device", "cpu", "--out", str(folder))
        assert f"--out {folder}" in message


@pytest.mark.slow
def test_ctrl_c_stops_the_run_cleanly(command, interrupt, tmp_path: Path) -> None:
    out = tmp_path / "out"
    small = ("--task", "mnist1d_blind", "--device", "cpu", "--max-epochs", "2")
    endless = command("evaluate", "--seeds", "400", "--envs", "1", *small, "--out", str(out))
    output = interrupt(endless, "static: ")
    assert "interrupted" in output
    assert not out.exists()
