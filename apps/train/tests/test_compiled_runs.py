"""Runs whose policy is compiled: how often that is, and that checkpoints do not know of it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from esper_kasmina import build_host
from esper_leyline import TrainingConfig, override
from esper_simic import PPORunner, build_reward
from esper_tamiyo import RecurrentPolicy
from esper_tolaria import build_environment, find_preset, find_task
from esper_train import main
from esper_train.checkpoints.files import load_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]

TASK = find_task("mnist1d_blind").spec


@pytest.fixture(autouse=True)
def compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def configured(envs: int, minibatches: int) -> TrainingConfig:
    """Ten steps a host: nothing else is as long, which would be taken for the same length."""
    changes = {
        "n_envs": envs,
        "max_epochs": 10,
        "device": "cpu",
        "ppo": {"epochs": 2, "minibatches": minibatches},
        "policy": {"feature_size": 8, "memory_size": 8},
        "host": {**TASK.training.model_dump(mode="json"), "max_batches": 1},
    }
    return override(find_preset(TASK.name), changes)


@pytest.mark.parametrize(("envs", "minibatches"), [(2, 1), (4, 2), (3, 2)])
def test_only_the_first_round_compiles(
    envs: int, minibatches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Graphs are traced and guarded as ever, and counted instead of made into machine code.

    Three hosts in two minibatches are two and one, in another random order in each pass.
    """
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    config = configured(envs, minibatches)
    environment = build_environment(TASK, config, build_host, workers=1)
    policy = RecurrentPolicy(environment.spec, config.policy, critic=config.ppo.critic)
    policy.compile_evaluation("default")
    reward = build_reward(config.reward, gamma=config.ppo.gamma)
    trainer = PPORunner(environment, policy, reward, config.ppo, rng_seed=config.seed)
    trainer.learn(1)
    first = counter.frame_count
    assert first > 0
    outcome = trainer.learn(6)
    environment.close()
    assert len(outcome.rounds) == 6
    assert counter.frame_count == first


def run(folder: Path, *arguments: str) -> int:
    """Runs the real command, and returns how many graphs it compiled."""
    from torch._dynamo.utils import counters

    before, said = counters["stats"]["unique_graphs"], io.StringIO()
    quiet = ("--telemetry-level", "off", "--runs", str(folder / "runs"))
    with contextlib.redirect_stdout(said):
        assert main(["ppo", *arguments, *quiet]) == 0
    assert ("compile: the policy's update" in said.getvalue()) == ("--force-compile" in arguments)
    return counters["stats"]["unique_graphs"] - before


def test_a_checkpoint_resumes_eager_or_compiled(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(configured(envs=1, minibatches=1).model_dump_json())
    paths = [tmp_path / f"{name}.safetensors" for name in ("compiled", "eager", "again")]
    begin = ("--config-json", str(config), "--rounds", "1", "--force-compile")
    assert run(tmp_path, *begin, "--save", str(paths[0])) > 0

    more = ("--resume", str(paths[0]), "--rounds", "2", "--compile-mode", "off")
    assert run(tmp_path, *more, "--save", str(paths[1])) == 0

    # What one round compiled serves every later one.
    more = ("--resume", str(paths[1]), "--rounds", "5", "--force-compile")
    assert run(tmp_path, *more, "--save", str(paths[2])) == 0

    found = [load_checkpoint(path) for path in paths]
    assert [manifest.rounds_completed for manifest, _ in found] == [1, 2, 5]
    assert [manifest.config.compile.force for manifest, _ in found] == [True, False, True]
    kept = [[(name, each.shape) for name, each in state["policy"].items()] for _, state in found]
    assert kept[1:] == kept[:-1]
    assert len(kept[0]) > 20
