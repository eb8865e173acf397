"""The reference's example commands as ``uv run esper-train`` takes them: each parses and starts."""

from __future__ import annotations

import os
import pickle
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from esper_leyline import RunStatus, RunSummary, TrainingConfig, read_config
from esper_train import main
from esper_train.cli import app

ROOT = Path(__file__).parents[3]
COMMAND = Path(sys.executable).with_name("esper-train")
"""What ``uv run esper-train`` starts. By itself, for away from a terminal uv doubles a Ctrl-C."""

REFERENCE = r"""
PYTHONPATH=src uv run python -m esper.scripts.train heuristic --task cifar10 --episodes 1

PYTHONPATH=src uv run python -m esper.scripts.train ppo \
    --task cifar10 \
    --rounds 100 \
    --envs 4 \
    --episode-length 150 \
    --device cuda:0

PYTHONPATH=src python -m esper.scripts.train ppo --preset cifar10 --task cifar10

PYTHONPATH=src python -m esper.scripts.train ppo --preset cifar10_stable --task cifar10

PYTHONPATH=src python -m esper.scripts.train ppo \
    --preset tinystories \
    --task tinystories \
    --amp

PYTHONPATH=src python -m esper.scripts.train ppo \
    --preset cifar10_deep \
    --task cifar10_deep \
    --devices cuda:0 cuda:1

PYTHONPATH=src python -m esper.scripts.train ppo \
    --config-json configs/ppo_config.json \
    --task cifar10

PYTHONPATH=src python -m esper.scripts.train ppo \
    --preset cifar10 \
    --dashboard \
    --dashboard-port 8080

PYTHONPATH=src python -m esper.scripts.train ppo \
    --preset cifar10 \
    --overwatch

PYTHONPATH=src python -m esper.scripts.train ppo \
    --preset cifar10 \
    --wandb \
    --wandb-project esper-morphogenesis \
    --wandb-tags ppo cifar10 baseline
"""


def translated(command: str) -> tuple[str, ...]:
    """What stands behind ``uv run esper-train``, with all its flags."""
    _, _, arguments = command.partition("-m esper.scripts.train ")
    return tuple(shlex.split(arguments.replace("\\\n", " ")))


ALL = tuple(translated(block) for block in REFERENCE.strip().split("\n\n"))
RULES, _QUICK, CIFAR10, _STABLE, STORIES, DEEP, CONFIG, _DASHBOARD, _OVERWATCH, _WANDB = ALL
STARTED = (DEEP, pytest.param(CONFIG, marks=pytest.mark.nightly))
"""Half a minute each. The other three differ in numbers alone from these and from those trained."""
TRAINED = (RULES, (*CIFAR10, "--envs", "1"))


def on_cpu(arguments: tuple[str, ...]) -> tuple[str, ...]:
    moved = tuple("cpu" if part.startswith("cuda:") else part for part in arguments)
    return moved if "cpu" in moved else (*moved, "--device", "cpu")


def test_all_reference_commands_are_listed() -> None:
    assert len(set(ALL)) == 10
    assert {each[0] for each in ALL} == {"ppo", "heuristic"}


@pytest.mark.parametrize("arguments", ALL, ids=" ".join)
def test_a_reference_command_parses(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    assert command.__name__ == arguments[0]
    assert bound.arguments
    options = bound.arguments.get("options")
    source = getattr(options, "source", None)
    assert getattr(source, "config_json", None) in (None, Path("configs/ppo_config.json"))
    if "--task" in arguments:
        flags = getattr(options, "flags", None) or bound.arguments["flags"]
        assert flags.task == arguments[arguments.index("--task") + 1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU that it asks for may be here")
@pytest.mark.parametrize("arguments", [each for each in ALL if "cuda:0" in each], ids=" ".join)
def test_without_a_gpu_one_line_says_so(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "device 'cuda:0' is not available; choose from: cpu" in message


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with CIFAR-10's files, of noise, in the published format and number."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        pixels = noise.integers(0, 256, (10_000, 3072), dtype=np.uint8)
        batch = {"labels": noise.integers(0, 10, 10_000).tolist(), "data": pixels}
        (folder / name).write_bytes(pickle.dumps(batch))
    return root


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run the commands in, as the repository's root."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def interrupted(here: Path) -> TrainingConfig:
    """What the run that was begun here was to be, if it ended in order."""
    (directory,) = (here / "runs").iterdir()
    summary = RunSummary.model_validate_json((directory / "summary.json").read_text())
    assert summary.status is RunStatus.INTERRUPTED
    return read_config(directory / "config.json")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", STARTED, ids=" ".join)
def test_a_reference_command_starts(
    arguments: tuple[str, ...], data: Path, here: Path, interrupt
) -> None:
    command = [str(COMMAND), *on_cpu(arguments), "--data-root", str(data)]
    assert "plan: 2 " in interrupt(command, "plan: ")
    config = interrupted(here)
    assert config.task == ("cifar10_deep" if "cifar10_deep" in arguments else "cifar10")
    assert (config.n_episodes, config.n_envs, config.max_epochs) == (100, 4, 150)
    assert config.devices == (("cpu", "cpu") if "--devices" in arguments else ())


@pytest.mark.slow
@pytest.mark.parametrize("arguments", TRAINED, ids=" ".join)
def test_a_reference_command_trains(arguments: tuple[str, ...], data: Path, here: Path) -> None:
    process = subprocess.Popen(
        [COMMAND, *on_cpu(arguments), "--data-root", str(data)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None:
        logs = [*here.glob("runs/*/events.jsonl")]
        if logs and '"kind":"epoch_completed"' in logs[0].read_text():
            break
        time.sleep(0.1)
    # As a terminal does it: the signal goes to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert errors == ""
    assert interrupted(here).task == "cifar10"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [RULES, STORIES], ids=" ".join)
def test_without_its_data_one_line_says_so(
    arguments: tuple[str, ...], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # where no server answers
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = subprocess.run(
        [COMMAND, *on_cpu(arguments)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "--data-root" in done.stderr
    assert not (here / "runs").exists()
